//! Users, organizational units and groups, made and changed by the forms.

use std::collections::BTreeSet;

use rollcall::access::Role;
use rollcall::directory::{Command, CustomFields, NewGroup, User, UserChanges, query, verify_password};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::secret::SecretString;

use super::Served;
use super::forms::Form;
use super::sample::fill;
use crate::plain::{apply, unit};
use crate::world::{described, new_user, on_both, open_hub};

async fn user(hub: &Hub, name: &str) -> Option<User> {
    let name = name.to_owned();
    hub.db.read(move |tx| query::find_user(tx, &name)).await.unwrap()
}

async fn is_password(hub: &Hub, id: &str, password: &str) -> bool {
    let (id, password) = (id.to_owned(), SecretString::from(password));
    hub.db
        .read(move |tx| verify_password(tx, &id, &password))
        .await
        .unwrap()
}

#[test]
fn a_user_is_made_by_a_form_that_says_what_it_takes() {
    on_both("console_user_new", |database, _| async move {
        let hub = open_hub(&database).await;
        let engineering = unit(&hub, "Engineering", ROOT_UNIT).await;
        let optics = unit(&hub, "Optics/Lab", &engineering).await;
        apply(&hub, Command::CreateUser(new_user("taken", ROOT_UNIT))).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let page = served.page(&format!("/console/directory?unit={optics}")).await;
        let link = format!("/console/users/new?unit={optics}");
        assert!(page.contains(&link));
        let form = served.form(&link, "/console/users/new").await;
        assert_eq!(form.value("unit"), "Engineering/Optics\\/Lab");
        assert_eq!(form.value("username"), "");
        // Everything that is wrong is said at once where it can be, and what was typed stays.
        let form = form
            .fill("username", "ada")
            .fill("displayName", "Ada <Lovelace>")
            .fill("unit", "Nowhere/At all")
            .fill("password", "short")
            .fill("accountExpireTime", "tomorrow")
            .fill("customValue", "42");
        let page = served.refused(form).await;
        for words in [
            "There is no unit “Nowhere/At all”",
            "8 to 256 characters.",
            "A day and a time",
            "“42” has no name",
            "value=\"Ada &#60;Lovelace&#62;\"",
            "Nothing was saved",
            "aria-invalid=\"true\"",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert!(!page.contains("short"), "a password is shown again");
        let again = Form::of(&page, "/console/users/new")
            .fill("unit", "/Engineering/Optics\\/Lab")
            .fill("accountExpireTime", "")
            .fill("customName", "room");
        for (field, value, words) in [
            ("username", "a d a", "1 to 256 characters: A–Z"),
            ("username", "TAKEN", "Taken by taken"),
            ("email", "nobody", "An e-mail address of at most"),
            ("phoneNumber", "12", "6 to 15 digits and nothing else"),
        ] {
            let form = Form::of(&page, "/console/users/new")
                .fill("unit", "/")
                .fill("accountExpireTime", "")
                .clear("customValue", "42")
                .fill(field, value);
            let page = served.refused(form).await;
            assert!(page.contains(words), "{words}: {page}");
        }
        let form = again
            .fill("email", "ada@example.com")
            .fill("phoneRegion", "86")
            .fill("phoneNumber", "13800001111")
            .fill("password", "correct horse")
            .fill("description", "first line\nsecond line")
            .fill("accountExpireTime", "2030-01-31T18:00")
            .tick("emailVerified", "yes")
            .tick("disabled", "yes");
        let (location, page) = served.accepted(form).await;
        let made = user(&hub, "ada").await.unwrap();
        assert_eq!(location, format!("/console/users/{}?done=user-created", made.id));
        assert!(page.contains("<title>Ada &#60;Lovelace&#62; · Rollcall</title>"));
        assert_eq!(made.display_name, "Ada <Lovelace>");
        assert_eq!(made.primary_unit_id(), optics);
        assert_eq!(made.email.as_deref(), Some("ada@example.com"));
        assert_eq!(made.phone_number.as_deref(), Some("13800001111"));
        assert_eq!(made.description.as_deref(), Some("first line\nsecond line"));
        // Nobody has told a time zone.
        assert_eq!(made.account_expire_time, Some(1_896_112_800_000));
        assert_eq!(
            made.custom_fields,
            CustomFields::from([("room".into(), "42".into())])
        );
        assert!(made.email_verified && !made.phone_verified && !made.enabled && made.password_set);
        assert!(is_password(&hub, &made.id, "correct horse").await);
        let account = served.page("/console/audit").await;
        assert!(account.contains("create"), "{account}");
    });
}

#[test]
fn what_is_changed_of_a_user_changes_and_the_rest_stays() {
    on_both("console_user_edit", |database, _| async move {
        let hub = open_hub(&database).await;
        let mut new = new_user("ada", ROOT_UNIT);
        new.custom_fields = [("room", "1"), ("desk", "2"), ("empty", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        new.account_expire_time = Some(1_896_112_800_123);
        new.description = Some("as it was".to_owned());
        let id = apply(&hub, Command::CreateUser(new)).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = format!("/console/users/{id}/edit");
        let before = user(&hub, "ada").await.unwrap();
        // Sent as it is, it changes nothing.
        served.accepted(served.form(&path, &path).await).await;
        assert_eq!(user(&hub, "ada").await.unwrap(), before);
        let form = served.form(&path, &path).await;
        let form = form
            .fill("username", "countess")
            .fill("email", "ada@example.com")
            .fill("description", "")
            .fill("customName", "phone")
            .fill("customValue", "7");
        // The field that had no value has got one, and the new name has none: rows keep together.
        let (location, _) = served.accepted(form).await;
        assert_eq!(location, format!("/console/users/{id}?done=user-changed"));
        let after = user(&hub, "countess").await.unwrap();
        assert_eq!(after.email.as_deref(), Some("ada@example.com"));
        assert_eq!(after.description, None);
        assert_eq!(after.account_expire_time, Some(1_896_112_800_123));
        let custom = [("desk", "2"), ("empty", "7"), ("phone", ""), ("room", "1")];
        assert_eq!(
            after.custom_fields,
            custom
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        );
        // A row that is emptied is removed.
        let form = served.form(&path, &path).await;
        let form = form.clear("customName", "room").clear("customValue", "1");
        served.accepted(form).await;
        assert!(
            !user(&hub, "countess")
                .await
                .unwrap()
                .custom_fields
                .contains_key("room")
        );
    });
}

#[test]
fn whoever_is_slower_is_told_what_the_other_has_done() {
    on_both("console_user_conflict", |database, _| async move {
        let hub = open_hub(&database).await;
        let id = apply(&hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = format!("/console/users/{id}/edit");
        let form = served.form(&path, &path).await;
        let own = format!("/console/users/{id}");
        let button = served.form(&own, &format!("{own}/disable")).await;
        let changes = UserChanges {
            description: Some(Some("by another".to_owned())),
            email: Some(Some("other@example.com".to_owned())),
            ..UserChanges::default()
        };
        apply(
            &hub,
            Command::UpdateUser {
                id: id.clone(),
                changes,
            },
        )
        .await;
        let page = served.refused(form.fill("email", "mine@example.com")).await;
        for words in [
            "somebody else has changed this since you opened it",
            "Now there is: other@example.com",
            "Now there is: by another",
            "value=\"mine@example.com\"",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert_eq!(
            user(&hub, "ada").await.unwrap().email.as_deref(),
            Some("other@example.com")
        );
        // Having seen that, somebody may keep one and overwrite the other.
        let form = Form::of(&page, &path).fill("description", "by another");
        served.accepted(form).await;
        let after = user(&hub, "ada").await.unwrap();
        assert_eq!(after.email.as_deref(), Some("mine@example.com"));
        assert_eq!(after.description.as_deref(), Some("by another"));
        // A button of a page that is out of date does nothing.
        let answer = served.submit(&button).await;
        assert_eq!(answer.status(), 409);
        assert!(answer.text().await.unwrap().contains("Somebody else was faster"));
        assert!(user(&hub, "ada").await.unwrap().enabled);
    });
}

#[test]
fn a_user_is_moved_joined_locked_disabled_and_given_passwords() {
    on_both("console_user_state", |database, _| async move {
        let hub = open_hub(&database).await;
        let engineering = unit(&hub, "Engineering", ROOT_UNIT).await;
        let sales = unit(&hub, "Sales", ROOT_UNIT).await;
        let id = apply(&hub, Command::CreateUser(new_user("ada", &engineering))).await;
        let group = NewGroup {
            name: "全体员工".to_owned(),
            ..NewGroup::default()
        };
        let group = apply(&hub, Command::CreateGroup(group)).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let own = format!("/console/users/{id}");
        let at = |what: &str| format!("{own}/{what}");

        let form = served.form(&at("units"), &at("units")).await;
        assert_eq!(
            (form.value("primary"), form.value("further")),
            ("Engineering", "")
        );
        let page = served.refused(form.fill("further", "/\nMarketing")).await;
        assert!(page.contains("There is no unit “Marketing”"), "{page}");
        let form = Form::of(&page, &at("units"))
            .fill("primary", "sales")
            .fill("further", "Engineering\n/");
        served.accepted(form).await;
        let moved = user(&hub, "ada").await.unwrap();
        assert_eq!(moved.primary_unit_id(), sales);
        assert_eq!(moved.units.len(), 3);

        let form = served.form(&at("groups"), &at("groups")).await;
        let page = served.refused(form.fill("group", "nobody")).await;
        assert!(page.contains("There is no group “nobody”"), "{page}");
        let form = served.form(&at("groups"), &at("groups")).await;
        let (_, page) = served.accepted(form.fill("group", "全体员工")).await;
        assert!(page.contains(&format!("/console/groups/{group}")));
        assert_eq!(user(&hub, "ada").await.unwrap().groups, [group.as_str()]);
        let form = Form::of(&page, &at("groups")).tick("remove", &group);
        served.accepted(form).await;
        assert!(user(&hub, "ada").await.unwrap().groups.is_empty());

        served.accepted(served.form(&own, &at("disable")).await).await;
        assert!(!user(&hub, "ada").await.unwrap().enabled);
        served.accepted(served.form(&own, &at("enable")).await).await;
        assert!(user(&hub, "ada").await.unwrap().enabled);
        let form = served.form(&at("lock"), &at("lock")).await;
        let page = served.refused(form.fill("until", "2001-01-01T00:00")).await;
        assert!(page.contains("This time has passed"), "{page}");
        served.accepted(served.form(&at("lock"), &at("lock")).await).await;
        assert!(user(&hub, "ada").await.unwrap().lock_expire_time.is_some());
        served.accepted(served.form(&own, &at("unlock")).await).await;
        assert!(user(&hub, "ada").await.unwrap().lock_expire_time.is_none());

        let page = served.page(&at("password")).await;
        // The one that makes a password up stands first.
        let make = Form::of(&page, &at("password"));
        assert_eq!(make.value("how"), "make");
        let chosen = |page: &str| {
            let (_, rest) = page
                .split_once(&format!("action=\"{}\"", at("password")))
                .unwrap();
            Form::of(rest, &at("password"))
        };
        let (set, differs) = (chosen(&page), chosen(&page));
        assert_eq!(set.value("how"), "set");
        let page = served
            .refused(
                differs
                    .fill("password", "correct horse")
                    .fill("again", "correct hose"),
            )
            .await;
        assert!(page.contains("The two new passwords are not the same") && !page.contains("correct ho"));
        let form = set
            .fill("password", "correct horse")
            .fill("again", "correct horse");
        served.accepted(form).await;
        assert!(is_password(&hub, &id, "correct horse").await);
        let answer = served
            .submit(&served.form(&at("password"), &at("password")).await)
            .await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let page = answer.text().await.unwrap();
        let (_, rest) = page.split_once("<code>").unwrap();
        let made_up = rest.split('<').next().unwrap();
        assert!(is_password(&hub, &id, made_up).await, "{made_up}");
        for path in [own.clone(), at("password"), "/console/audit".to_owned()] {
            assert!(
                !served.page(&path).await.contains(made_up),
                "{path} shows it again"
            );
        }
    });
}

#[test]
fn deleting_and_erasing_need_the_name_and_say_what_is_left() {
    on_both("console_user_delete", |database, _| async move {
        let hub = open_hub(&database).await;
        let ada = apply(&hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        let eve = apply(&hub, Command::CreateUser(new_user("eve", ROOT_UNIT))).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = format!("/console/users/{ada}/delete");
        let form = served.form(&path, &path).await;
        let page = served.refused(form.fill("confirm", "Ada")).await;
        assert!(page.contains("Type exactly ada"), "{page}");
        assert!(user(&hub, "ada").await.is_some());
        let stale = served.form(&path, &path).await.fill("confirm", "ada");
        apply(&hub, described(&ada, "another")).await;
        served.refused(stale).await;
        let form = served.form(&path, &path).await.fill("confirm", "ada");
        let (location, _) = served.accepted(form).await;
        assert_eq!(location, "/console/directory?done=user-deleted");
        assert!(user(&hub, "ada").await.is_none());
        assert_eq!(served.ask(&path, "en").await.status(), 404);

        let path = format!("/console/users/{eve}/delete");
        let form = served
            .form(&path, &path)
            .await
            .fill("confirm", "eve")
            .tick("how", "erase");
        let answer = served.submit(&form).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().contains("eve is erased"));
        assert!(user(&hub, "eve").await.is_none());
        let kept = hub
            .db
            .read(move |tx| rollcall::change::of_subject(tx, &eve))
            .await
            .unwrap();
        assert!(kept.iter().all(|change| !format!("{change:?}").contains("eve ☃")));
    });
}

#[test]
fn units_are_made_changed_moved_and_deleted_by_plan() {
    on_both("console_units", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let new = "/console/units/new";
        let form = served.form(new, new).await;
        assert_eq!(form.value("parent"), "/");
        let page = served.refused(form.fill("name", " ")).await;
        assert!(page.contains("1 to 128 characters"), "{page}");
        let form = served.form(new, new).await.fill("name", "Engineering");
        let (location, page) = served.accepted(form).await;
        assert!(page.contains("The unit was created"));
        let id = location.split(['=', '&']).nth(1).unwrap().to_owned();
        let form = served.form(&format!("{new}?parent={id}"), new).await;
        assert_eq!(form.value("parent"), "Engineering");
        let (location, _) = served.accepted(form.fill("name", "Optics")).await;
        let optics = location.split(['=', '&']).nth(1).unwrap().to_owned();
        let form = served.form(new, new).await.fill("name", "engineering");
        let page = served.refused(form).await;
        assert!(page.contains("Taken by"), "{page}");

        let path = format!("/console/units/{id}/edit");
        let stale = served.form(&path, &path).await;
        let form = served.form(&path, &path).await;
        served
            .accepted(form.fill("name", "研发中心").fill("description", "all of it"))
            .await;
        let page = served.refused(stale.fill("name", "Development")).await;
        assert!(page.contains("Now there is: 研发中心"), "{page}");

        let path = format!("/console/units/{id}/move");
        let form = served.form(&path, &path).await;
        let page = served.refused(form.fill("parent", "研发中心/Optics")).await;
        assert!(page.contains("A unit cannot stand below itself"), "{page}");
        let path = format!("/console/units/{optics}/move");
        let form = served.form(&path, &path).await;
        assert_eq!(form.value("parent"), "研发中心");
        served.accepted(form.fill("parent", "/")).await;
        let form = served.form(&path, &path).await;
        served.accepted(form.fill("parent", "研发中心")).await;
        for name in ["ada", "grace"] {
            apply(&hub, Command::CreateUser(new_user(name, &optics))).await;
        }

        let path = format!("/console/units/{id}/delete");
        let page = served.page(&path).await;
        for words in ["2 units", "研发中心/Optics", "2 users", "grace"] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let form = Form::of(&page, &path);
        let page = served.refused(form.fill("confirm", "Engineering")).await;
        // Whoever comes into it in between is not deleted unseen.
        let form = Form::of(&page, &path).fill("confirm", "研发中心");
        apply(&hub, Command::CreateUser(new_user("late", &optics))).await;
        let page = served.refused(form).await;
        assert!(
            page.contains("has changed since it was shown") && page.contains("3 users"),
            "{page}"
        );
        let form = Form::of(&page, &path).fill("confirm", "研发中心");
        let (location, _) = served.accepted(form).await;
        assert_eq!(
            location,
            format!("/console/directory?unit={ROOT_UNIT}&done=unit-deleted")
        );
        assert!(user(&hub, "late").await.is_none());
        let root = format!("/console/units/{ROOT_UNIT}/delete");
        assert_eq!(served.ask(&root, "en").await.status(), 404);
        let page = served.page(&format!("/console/directory?unit={ROOT_UNIT}")).await;
        assert!(!page.contains(&root));
    });
}

#[test]
fn groups_are_made_changed_filled_and_deleted() {
    on_both("console_groups", |database, _| async move {
        let hub = open_hub(&database).await;
        let ada = apply(&hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        apply(&hub, Command::CreateUser(new_user("grace", ROOT_UNIT))).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let new = "/console/groups/new";
        let form = served.form(new, new).await.fill("name", "Everybody");
        let (location, _) = served.accepted(form).await;
        let own = location.split('?').next().unwrap().to_owned();
        let form = served.form(new, new).await.fill("name", "EVERYBODY");
        assert!(served.refused(form).await.contains("Taken by"));
        let edit = format!("{own}/edit");
        let form = served.form(&edit, &edit).await;
        served.accepted(form.fill("description", "all of them")).await;

        let members = format!("{own}/members");
        let form = served.form(&own, &members).await;
        let page = served.refused(form.fill("users", "ada\nnobody")).await;
        assert!(
            page.contains("There is no user “nobody”") && page.contains("ada\nnobody"),
            "{page}"
        );
        let form = served.form(&own, &members).await;
        served.accepted(form.fill("users", "ada, grace")).await;
        let page = served.page(&own).await;
        assert!(page.contains("ada ☃") && page.contains("grace ☃"));
        let form = Form::of(&page, &format!("{members}/remove")).tick("user", &ada);
        let (_, page) = served.accepted(form).await;
        assert!(!page.contains("ada ☃") && page.contains("grace ☃"));

        let path = format!("{own}/delete");
        let form = served.form(&path, &path).await.fill("confirm", "everybody");
        served.refused(form).await;
        let form = served.form(&path, &path).await.fill("confirm", "Everybody");
        let (location, _) = served.accepted(form).await;
        assert_eq!(location, "/console/groups?done=group-deleted");
        assert!(user(&hub, "grace").await.is_some());
    });
}

#[tokio::test]
async fn nobody_but_administrators_changes_the_directory() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let sample = fill(&hub).await;
    let own = Role::ApplicationOwner(BTreeSet::from([sample.chat.clone()]));
    let user = |what: &str| format!("/console/users/{}/{what}", sample.user);
    let unit = |what: &str| format!("/console/units/{}/{what}", sample.unit);
    let group = |what: &str| format!("/console/groups/{}/{what}", sample.group);
    let shown = [
        "/console/users/new".to_owned(),
        "/console/units/new".to_owned(),
        "/console/groups/new".to_owned(),
        user("edit"),
        user("units"),
        user("groups"),
        user("lock"),
        user("password"),
        user("delete"),
        unit("edit"),
        unit("move"),
        unit("delete"),
        group("edit"),
        group("delete"),
    ];
    let pressed = [
        user("enable"),
        user("disable"),
        user("unlock"),
        group("members"),
        group("members/remove"),
    ];
    let before = hub.db.read(rollcall::change::head).await.unwrap().seq;
    for role in [Role::Operator, Role::Auditor, own] {
        let served = Served::start(&hub, Some(role.clone())).await;
        for path in &shown {
            assert_eq!(served.ask(path, "en").await.status(), 403, "{path} as {role:?}");
        }
        for path in shown.iter().chain(&pressed) {
            let form = [("csrf", served.csrf.as_str()), ("confirm", "ada"), ("name", "x")];
            assert_eq!(served.post(path, &form).await.status(), 403, "{path} as {role:?}");
        }
        // What they cannot do is not offered.
        for path in [
            "/console/directory".to_owned(),
            format!("/console/directory?unit={}", sample.unit),
            format!("/console/users/{}", sample.user),
            "/console/groups".to_owned(),
            format!("/console/groups/{}", sample.group),
        ] {
            let page = served.page(&path).await;
            for offered in shown.iter().chain(&pressed) {
                assert!(
                    !page.contains(offered.as_str()),
                    "{path} offers {offered} to {role:?}"
                );
            }
        }
    }
    // Nor does anybody whose browser was made to send it.
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    for path in shown.iter().chain(&pressed) {
        let answer = served
            .post(path, &[("csrf", "another"), ("confirm", "ada")])
            .await;
        assert_eq!(answer.status(), 403, "{path}");
        let form = [("csrf", served.csrf.as_str())];
        let answer = served.post_from("cross-site", path, &form).await;
        assert_eq!(answer.status(), 403, "{path}");
    }
    assert_eq!(hub.db.read(rollcall::change::head).await.unwrap().seq, before);
}
