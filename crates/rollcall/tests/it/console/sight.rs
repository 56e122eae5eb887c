//! What the owner of an application meets in the directory: what is in its scope, and no trace of anything else.

use std::collections::BTreeSet;

use rollcall::access::Role;
use rollcall::application::Scope;
use rollcall::directory::{Command, NewUser};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;

use super::Served;
use crate::plain::{self, apply, unit};
use crate::world::{add_application, create_users, new_user, on_both, open_hub};

/// What is outside bears this in each of its names.
const FOREIGN: &str = "foreign";

async fn group(hub: &Hub, name: &str, members: &[&String]) -> String {
    let group_id = plain::group(hub, name).await;
    let add = Command::AddMembers {
        group_id: group_id.clone(),
        user_ids: members.iter().map(|id| (*id).clone()).collect(),
    };
    apply(hub, add).await;
    group_id
}

/// A directory of which an application has a unit and a group.
struct Divided {
    own: String,
    foreign_application: String,
    inside: String,
    deep: String,
    own_group: String,
    both: String,
    member: String,
    foreign_unit: String,
    foreign_user: String,
    foreign_group: String,
}

impl Divided {
    async fn of(hub: &Hub) -> Self {
        let above = unit(hub, "foreign above", ROOT_UNIT).await;
        let inside = unit(hub, "Inside", &above).await;
        let deep = unit(hub, "Deep", &inside).await;
        let foreign_unit = unit(hub, "foreign unit", &above).await;
        let both = NewUser {
            organizational_unit_ids: vec![foreign_unit.clone()],
            phone_region: Some("86".to_owned()),
            phone_number: Some("13812345678".to_owned()),
            ..new_user("both", &deep)
        };
        let both = apply(hub, Command::CreateUser(both)).await;
        let foreign_user = apply(hub, Command::CreateUser(new_user("foreign-user", &foreign_unit))).await;
        let member = apply(hub, Command::CreateUser(new_user("member", &foreign_unit))).await;
        let foreign_group = group(hub, "foreign group", &[&both, &foreign_user]).await;
        let own_group = group(hub, "Own group", &[&member]).await;
        let url = "http://127.0.0.1:1/events";
        let scope = Scope {
            organizational_unit_ids: [inside.clone()].into(),
            group_ids: [own_group.clone()].into(),
        };
        let own = add_application(hub, "Own", url, None, scope).await.id;
        let everything = Scope::everything();
        let foreign_application = add_application(hub, "foreign app", url, None, everything)
            .await
            .id;
        Self {
            own,
            foreign_application,
            inside,
            deep,
            own_group,
            both,
            member,
            foreign_unit,
            foreign_user,
            foreign_group,
        }
    }

    fn owner(&self) -> Role {
        Role::ApplicationOwner(BTreeSet::from([self.own.clone()]))
    }
}

/// The page itself, without what the visitor has typed: a search that finds nothing repeats it.
async fn page(served: &Served, path: &str) -> String {
    let answer = served.ask(path, "en").await;
    assert_eq!(answer.status(), 200, "{path}");
    let text = answer.text().await.unwrap();
    let (_, main) = text.split_once("<main").unwrap();
    main.to_owned()
}

#[test]
fn an_owner_meets_what_is_in_scope_and_no_trace_of_the_rest() {
    on_both("console_sight", |database, _| async move {
        let hub = open_hub(&database).await;
        let divided = Divided::of(&hub).await;
        let served = Served::start(&hub, Some(divided.owner())).await;
        let Divided {
            own,
            inside,
            deep,
            own_group,
            both,
            member,
            ..
        } = &divided;
        for (path, names) in [
            ("/console/directory".to_owned(), vec!["both", "member", "Inside"]),
            (
                format!("/console/directory?unit={inside}"),
                vec!["Inside", "Deep"],
            ),
            (format!("/console/directory?unit={deep}"), vec!["Inside", "both"]),
            ("/console/directory?search=BOTH".to_owned(), vec!["both"]),
            (
                "/console/directory?search=%2B86+138-1234".to_owned(),
                vec!["both"],
            ),
            ("/console/groups".to_owned(), vec!["Own group"]),
            ("/console/groups?search=group".to_owned(), vec!["Own group"]),
            (format!("/console/groups/{own_group}"), vec!["member"]),
            (format!("/console/users/{both}"), vec!["/Inside/Deep", "Own"]),
            (format!("/console/users/{member}"), vec!["member", "Own group"]),
            (format!("/console/users/{both}/{own}"), vec!["Inside"]),
            (format!("/console/users/{member}/{own}"), vec!["Own group"]),
            ("/console/".to_owned(), vec!["Own"]),
            ("/console/applications".to_owned(), vec!["Own"]),
            (
                format!("/console/applications/{own}"),
                vec!["Inside", "Own group"],
            ),
        ] {
            let text = page(&served, &path).await;
            for name in names {
                assert!(text.contains(name), "{path} lacks {name}");
            }
            assert!(!text.to_lowercase().contains(FOREIGN), "{path}: {text}");
            for hidden in [
                &divided.foreign_unit,
                &divided.foreign_user,
                &divided.foreign_group,
                &divided.foreign_application,
            ] {
                assert!(!text.contains(hidden.as_str()), "{path}: {text}");
            }
        }
        // Whoever searches for what is outside learns nothing, not even that there is something.
        for (path, words) in [
            ("/console/directory?search=user", "Nobody has “user”"),
            ("/console/groups?search=eign", "No group has “eign”"),
        ] {
            let text = page(&served, path).await;
            assert!(text.contains(words) && !text.contains(FOREIGN), "{path}: {text}");
        }
        for path in [
            format!("/console/directory?unit={}", divided.foreign_unit),
            format!("/console/directory?unit={ROOT_UNIT}"),
            format!("/console/users/{}", divided.foreign_user),
            format!("/console/users/{}/{own}", divided.foreign_user),
            format!("/console/users/{both}/{}", divided.foreign_application),
            format!("/console/groups/{}", divided.foreign_group),
        ] {
            let answer = served.ask(&path, "en").await;
            assert_eq!(answer.status(), 404, "{path}");
            assert!(!answer.text().await.unwrap().contains(FOREIGN), "{path}");
        }
        let push = format!("/console/applications/{own}/push");
        let form = [
            ("csrf", served.csrf.as_str()),
            ("user", divided.foreign_user.as_str()),
        ];
        let answer = served.post(&push, &form).await;
        assert!(answer.status().is_client_error(), "{}", answer.status());
    });
}

#[test]
fn a_large_scope_among_more_people_is_read_page_by_page() {
    on_both("console_sight_many", |database, _| async move {
        let hub = open_hub(&database).await;
        let inside = unit(&hub, "Inside", ROOT_UNIT).await;
        let outside = unit(&hub, "Outside", ROOT_UNIT).await;
        // More than are read at once. The first ones, more than a portion looks at, are all outside, then every second.
        let first_inside = 4_500;
        for portion in 0..30 {
            let new = (0..500).map(|index| {
                let number = portion * 500 + index;
                let is_inside = number >= first_inside && number % 2 == 0;
                new_user(
                    &format!("user{number:05}"),
                    if is_inside { &inside } else { &outside },
                )
            });
            create_users(&hub, new.collect()).await;
        }
        let scope = Scope {
            organizational_unit_ids: [inside.clone()].into(),
            ..Scope::default()
        };
        let url = "http://127.0.0.1:1/events";
        let own = add_application(&hub, "Own", url, None, scope).await.id;
        let owner = Role::ApplicationOwner(BTreeSet::from([own]));
        let served = Served::start(&hub, Some(owner)).await;
        for first in ["/console/directory", "/console/directory?search=USER"] {
            let (mut next, mut seen) = (Some(first.to_owned()), BTreeSet::new());
            for _ in 0..3 {
                let text = page(&served, &next.take().unwrap()).await;
                let names = text.split("user").skip(1);
                seen.extend(names.filter_map(|rest| rest.get(..5)?.parse::<u32>().ok()));
                let links = text.split("href=\"").skip(1);
                next = links
                    .map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&"))
                    .find(|link| link.contains("after="));
            }
            let expected: BTreeSet<u32> = (0..150).map(|number| first_inside + number * 2).collect();
            assert_eq!(seen, expected, "{first}");
        }
    });
}
