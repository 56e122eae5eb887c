//! What the owner of an application sees: nothing beyond its scope.

use rollcall::access::{Caller, Role};
use rollcall::application;
use rollcall::directory::{Command, NewGroup, NewUnit, NewUser};
use rollcall::id::ROOT_UNIT;
use serde_json::{Value, json};

use super::{Site, on_each};
use crate::world::new_user;

/// What is outside bears this in each of its names.
const FOREIGN: &str = "foreign";

impl Site {
    async fn make(&self, command: Command) -> String {
        self.hub.apply(Caller::system("test"), command).await.unwrap().id
    }

    async fn unit(&self, name: &str, parent_id: &str) -> String {
        let new = NewUnit {
            name: name.to_owned(),
            parent_id: parent_id.to_owned(),
            ..NewUnit::default()
        };
        self.make(Command::CreateUnit(new)).await
    }

    async fn group(&self, name: &str, members: &[&String]) -> String {
        let new = NewGroup {
            name: name.to_owned(),
            ..NewGroup::default()
        };
        let group_id = self.make(Command::CreateGroup(new)).await;
        let user_ids = members.iter().map(|id| (*id).clone()).collect();
        self.make(Command::AddMembers {
            group_id: group_id.clone(),
            user_ids,
        })
        .await;
        group_id
    }
}

/// A directory of which the application `Own` has one unit, with somebody in it who also stands outside.
pub(super) struct Divided {
    pub(super) own: String,
    pub(super) owner: String,
    pub(super) foreign_unit: String,
    pub(super) foreign_user: String,
    pub(super) foreign_group: String,
    inside: String,
    deep: String,
    own_group: String,
}

impl Divided {
    pub(super) async fn of(site: &Site) -> Self {
        let above = site.unit("foreign above", ROOT_UNIT).await;
        let inside = site.unit("Inside", &above).await;
        let deep = site.unit("Deep", &inside).await;
        let foreign_unit = site.unit("foreign unit", &above).await;
        let both = NewUser {
            organizational_unit_ids: vec![foreign_unit.clone()],
            ..new_user("both", &deep)
        };
        let both = site.make(Command::CreateUser(both)).await;
        let foreign_user = site
            .make(Command::CreateUser(new_user("foreign-user", &foreign_unit)))
            .await;
        let member = site
            .make(Command::CreateUser(new_user("member", &foreign_unit)))
            .await;
        let foreign_group = site.group("foreign group", &[&both, &foreign_user]).await;
        let own_group = site.group("Own group", &[&member]).await;
        let scope = application::Scope {
            organizational_unit_ids: [inside.clone()].into(),
            group_ids: [own_group.clone()].into(),
        };
        let url = "http://127.0.0.1:1/events";
        let own = crate::world::add_application(&site.hub, "Own", url, None, scope).await;
        let scope = application::Scope {
            organizational_unit_ids: [foreign_unit.clone()].into(),
            ..application::Scope::default()
        };
        crate::world::add_application(&site.hub, "foreign app", url, None, scope).await;
        let owner = "owner".to_owned();
        site.account(&owner, Role::ApplicationOwner([own.id.clone()].into()))
            .await;
        Self {
            own: own.id,
            owner,
            foreign_unit,
            foreign_user,
            foreign_group,
            inside,
            deep,
            own_group,
        }
    }
}

fn names(body: &Value, field: &str) -> Vec<String> {
    let list = body.get("items").unwrap_or(body);
    let list = list.as_array().unwrap_or_else(|| panic!("{body}"));
    list.iter()
        .map(|one| one[field].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_owner_sees_what_is_in_scope_and_nothing_else() {
    on_each("owner_sees", |site| async move {
        let divided = Divided::of(&site).await;
        let owner = site.sign_in(&divided.owner).await;
        let get = async |path: &str| {
            let said = site.get(&owner, path).await;
            assert_eq!(said.status, 200, "{path}: {}", said.body);
            let text = said.body.to_string().to_lowercase();
            assert!(!text.contains(FOREIGN), "{path}: {text}");
            for hidden in [
                &divided.foreign_unit,
                &divided.foreign_user,
                &divided.foreign_group,
            ] {
                assert!(!text.contains(hidden.as_str()), "{path}: {text}");
            }
            said.body
        };
        assert_eq!(names(&get("/applications").await, "name"), ["Own"]);
        assert_eq!(names(&get("/users").await, "username"), ["both", "member"]);
        let first = get("/users?limit=1").await;
        assert_eq!(names(&first, "username"), ["both"]);
        let rest = format!("/users?limit=1&cursor={}", first["next"].as_str().unwrap());
        assert_eq!(names(&get(&rest).await, "username"), ["member"]);
        assert_eq!(names(&get("/users?search=m").await, "username"), ["member"]);
        let of_unit = |unit: &str| format!("/users?organizationalUnitId={unit}");
        assert_eq!(names(&get(&of_unit(&divided.deep)).await, "username"), ["both"]);
        assert_eq!(names(&get("/groups").await, "name"), ["Own group"]);
        let members = get(&format!("/groups/{}/members", divided.own_group)).await;
        assert_eq!(members["items"].as_array().unwrap().len(), 1);

        let both = get("/users/both").await;
        assert_eq!(names(&both["units"], "name"), ["Deep"]);
        assert_eq!(both["groups"], json!([]));
        assert_eq!(get("/users/both/groups").await["items"], json!([]));
        assert_eq!(names(&get("/users/member/groups").await, "name"), ["Own group"]);
        let own_group = format!("/groups/{}/users", divided.own_group);
        assert_eq!(names(&get(&own_group).await, "username"), ["member"]);
        let member = get("/users/member").await;
        assert_eq!(
            (&member["units"], &member["groups"]),
            (&json!([]), &json!([divided.own_group]))
        );

        let tops = get("/organizational-units").await;
        assert_eq!(names(&tops, "path"), ["Inside"]);
        assert_eq!(tops[0]["parentId"], Value::Null);
        let below = |unit: &str| format!("/organizational-units?parentId={unit}");
        assert_eq!(
            names(&get(&below(&divided.inside)).await, "path"),
            ["Inside/Deep"]
        );
        assert_eq!(
            names(&get(&below(&divided.deep)).await, "path"),
            Vec::<String>::new()
        );
        let found = get("/organizational-units?search=E").await;
        assert_eq!(names(&found, "path"), ["Inside", "Inside/Deep"]);
        let found = get(&format!("{}&search=e", below(&divided.inside))).await;
        assert_eq!(names(&found, "path"), ["Inside/Deep"]);
        let deep = get("/organizational-units/Inside%2FDeep").await;
        assert_eq!(deep["id"], divided.deep.as_str());
        // A scope is named from the topmost unit that is seen on, wherever it is told.
        let scope = json!(["/Inside", "group Own group"]);
        let listed = get("/applications").await;
        assert_eq!(listed["items"][0]["scope"]["names"], scope);
        assert_eq!(get("/applications/own").await["scope"]["names"], scope);
        let entitled = get("/applications/own/scope").await;
        assert_eq!(entitled["scope"]["names"], scope, "{entitled}");
        get("/applications/own/attempts").await;
        get("/applications/own/synchronizations").await;
        get("/applications/own/keys").await;
        let why = get("/applications/own/why/both").await;
        let within = "organizational unit /Inside";
        assert_eq!(why["standsIn"], json!([format!("{within}/Deep")]));
        assert_eq!(why["inScopeThrough"], json!([within]));

        // What somebody outside is called tells nothing, and neither does what fits him and another.
        let outside = |text: &str| text.replace("foreign-user", "X").replace("no-such-user", "X");
        let there = site.get(&owner, "/users/foreign-user").await;
        let missing = site.get(&owner, "/users/no-such-user").await;
        assert_eq!(there.status, 404);
        assert_eq!(outside(&there.text("detail")), outside(&missing.text("detail")));
        let foreign = format!("/users?organizationalUnitId={}", divided.foreign_unit);
        let said = site.get(&owner, &foreign).await;
        assert!(!said.body.to_string().contains(FOREIGN));
        // His own application is tested and synchronized, also though somebody else set it up.
        let pushed = site
            .post(&owner, "/applications/own/synchronizations", json!({}))
            .await;
        assert_eq!(pushed.status, 200, "{}", pushed.body);
        let audit = site
            .machine("GET", "/audit?who=account:", Value::Null)
            .await
            .body
            .to_string();
        assert!(
            audit.contains("synchroni") && audit.contains(&divided.own),
            "{audit}"
        );

        // Once the application is gone, so is all of it.
        let delete = application::Command::Delete {
            id: divided.own.clone(),
        };
        site.hub
            .apply_application(Caller::system("test"), delete)
            .await
            .unwrap();
        for path in ["/applications", "/users", "/groups", "/organizational-units"] {
            assert_eq!(site.get(&owner, path).await.body["items"], json!([]), "{path}");
        }
    });
}

#[test]
fn whoever_owns_an_application_of_everything_sees_the_whole_directory() {
    on_each("owner_of_all", |site| async move {
        let divided = Divided::of(&site).await;
        let url = "http://127.0.0.1:1/events";
        let everything = application::Scope::everything();
        let all = crate::world::add_application(&site.hub, "All", url, None, everything).await;
        let owned = [all.id.clone(), divided.own.clone()].into();
        site.account("chief", Role::ApplicationOwner(owned)).await;
        let chief = site.sign_in("chief").await;
        let mine = async |path: &str| site.get(&chief, path).await.body;
        let whole = async |path: &str| site.machine("GET", path, Value::Null).await.body;
        for path in [
            "/users",
            "/users/both",
            "/groups",
            "/organizational-units",
            "/organizational-units?search=unit",
            "/organizational-units/foreign%20above%2FInside",
            "/organizational-units/ou_root",
        ] {
            assert_eq!(mine(path).await, whole(path).await, "{path}");
        }
        assert_eq!(names(&mine("/applications").await, "name"), ["All", "Own"]);
    });
}
