//! Names are what people see: nothing in them is unseen, and what looks alike is one.

use proptest::prelude::*;
use rollcall::access::{Caller, Role};
use rollcall::accounts;
use rollcall::connection::{self, ConnectionError, users};
use rollcall::directory::fields::{Source, fold};
use rollcall::directory::{
    Command, DirectoryError, GroupChanges, NewGroup, NewUnit, NewUser, UserChanges, query,
};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_db::{DbError, params};
use serde_json::json;

use crate::access::fresh_account;
use crate::operate::{done, rollcall};
use crate::plain::apply;
use crate::world::{described, make_hub, new_user, on_both, open_hub};

async fn refusal(hub: &Hub, command: Command) -> String {
    match hub.apply(Caller::system("test"), command).await {
        Err(error @ DirectoryError::InvalidField { .. }) => error.to_string(),
        other => panic!("not refused for its characters: {other:?}"),
    }
}

fn group(name: &str) -> Command {
    Command::CreateGroup(NewGroup {
        name: name.to_owned(),
        ..NewGroup::default()
    })
}

fn unit(name: &str) -> Command {
    Command::CreateUnit(NewUnit {
        name: name.to_owned(),
        parent_id: ROOT_UNIT.to_owned(),
        ..NewUnit::default()
    })
}

fn named(display_name: &str) -> Command {
    Command::CreateUser(NewUser {
        display_name: display_name.to_owned(),
        ..new_user("ada", ROOT_UNIT)
    })
}

#[test]
fn what_cannot_be_seen_is_refused_with_its_code_point() {
    on_both("names_unseen", |hub, _| async move {
        let hub = open_hub(&hub).await;
        for (c, code) in [
            ('\u{202a}', "U+202A"),
            ('\u{202e}', "U+202E (direction override)"),
            ('\u{2066}', "U+2066"),
            ('\u{2069}', "U+2069"),
            ('\u{200b}', "U+200B (zero width space)"),
            ('\u{feff}', "U+FEFF"),
            ('\u{2060}', "U+2060"),
        ] {
            let name = format!("A{c}B");
            let email = NewUser {
                email: Some(format!("a{c}b@example.org")),
                ..new_user("ada", ROOT_UNIT)
            };
            for command in [
                named(&name),
                Command::CreateUser(email),
                Command::CreateUser(new_user(&name, ROOT_UNIT)),
                unit(&name),
                group(&name),
            ] {
                let said = refusal(&hub, command).await;
                assert!(said.contains(code), "{said}");
            }
        }
        // Joiners shape what stands beside them; at an end there is nothing.
        assert!(refusal(&hub, group("A\u{200d}")).await.contains("U+200D"));
        apply(&hub, group("می\u{200c}خواهم 👩\u{200d}💻")).await;
        // Right-to-left names need no marks.
        apply(&hub, group("שלום")).await;
    });
}

#[test]
fn names_that_look_alike_are_one() {
    on_both("names_alike", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let first = apply(&hub, group("Ｔeam Zürich ﬁve")).await;
        for alike in [
            "team zürich five",
            "TEAM ZU\u{308}RICH FIVE",
            "Te\u{200d}am Zürich ﬁve",
        ] {
            let taken = hub.apply(Caller::system("test"), group(alike)).await;
            assert!(matches!(taken, Err(DirectoryError::Taken { .. })), "{alike}");
            let wanted = alike.to_owned();
            let found = hub
                .db
                .read(move |tx| query::find_group(tx, &wanted))
                .await
                .unwrap();
            assert_eq!(found.unwrap().id, first);
        }
        apply(&hub, unit("Zu\u{308}rich")).await;
        let taken = hub.apply(Caller::system("test"), unit("ZÜRICH")).await;
        assert!(matches!(taken, Err(DirectoryError::Taken { .. })));
        let at = |username: &str, email: &str| {
            Command::CreateUser(NewUser {
                email: Some(email.to_owned()),
                ..new_user(username, ROOT_UNIT)
            })
        };
        apply(&hub, at("ada", "zu\u{308}rich@example.org")).await;
        let taken = hub
            .apply(Caller::system("test"), at("bob", "ZÜRICH@example.org"))
            .await;
        assert!(matches!(taken, Err(DirectoryError::Taken { what: "email", .. })));
    });
}

#[test]
fn a_source_is_plain_and_short() {
    on_both("names_source", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let of = |source_type: &str, source_id: &str| NewGroup {
            name: "Group".to_owned(),
            source: Source {
                source_type: source_type.to_owned(),
                source_id: source_id.to_owned(),
            },
            ..NewGroup::default()
        };
        for (source_type, said) in [
            ("a\0b", "control characters"),
            (&*"x".repeat(500_000), "500000 characters"),
            ("", "empty"),
            ("two words", "' '"),
            ("ldap\u{202e}", "U+202E"),
        ] {
            let refused = refusal(&hub, Command::CreateGroup(of(source_type, "1"))).await;
            assert!(
                refused.starts_with("sourceType") && refused.contains(said),
                "{refused}"
            );
        }
        let refused = refusal(&hub, Command::CreateGroup(of("ldap", "a\0b"))).await;
        assert!(refused.starts_with("sourceId"), "{refused}");
        apply(
            &hub,
            Command::CreateGroup(of("ldap.v3_x-1", "dc=example, dc=org")),
        )
        .await;
    });
}

#[test]
fn what_was_stored_before_stays_readable_and_changeable() {
    on_both("names_before", |database, _| async move {
        let hub = open_hub(&database).await;
        let ada = apply(&hub, named("Ada")).await;
        let due = NewUser {
            account_expire_time: Some(2),
            ..new_user("bob", ROOT_UNIT)
        };
        let bob = apply(&hub, Command::CreateUser(due)).await;
        let (one, two) = (apply(&hub, group("One")).await, apply(&hub, group("Two")).await);
        let alone = apply(&hub, group("Three")).await;
        let (okta, _) = crate::scim::connect(&hub, "ＯＫＴＡ", &json!({})).await;
        let source = okta.id.clone();
        let account = fresh_account(&hub, "ＧＲＡＣＥ", Role::Auditor).await.account.id;
        let (user, first, second, third) = (ada.clone(), one.clone(), two.clone(), alone.clone());
        // As an earlier version stored them: lower case was all that it looked at.
        hub.db
            .write(move |tx| {
                tx.execute(
                    "UPDATE users SET display_name = $2, source_type = $3, account_expire_time = 1 WHERE id = $1",
                    params![user.as_str(), "Ada\u{202e}", "two words"],
                )?;
                for (id, name) in [(&first, "Fife"), (&second, "ﬁfe"), (&third, "ＡＢＣ")] {
                    tx.execute(
                        "UPDATE groups SET name = $2, name_folded = $3 WHERE id = $1",
                        params![id.as_str(), name, name.to_lowercase()],
                    )?;
                }
                for (table, id, name) in [
                    ("connections", &source, "ＯＫＴＡ"),
                    ("accounts", &account, "ＧＲＡＣＥ"),
                ] {
                    tx.execute(
                        &format!("UPDATE {table} SET name_folded = $2 WHERE id = $1"),
                        params![id.as_str(), name.to_lowercase()],
                    )?;
                }
                let said = json!({ "userName": "ＡＤＡ" });
                users::keep(tx, &source, &user, said.as_object().unwrap(), 1)?;
                tx.execute(
                    "UPDATE connection_users SET user_name = $2 WHERE user_id = $1",
                    params![user.as_str(), "ＡＤＡ".to_lowercase()],
                )?;
                tx.execute("UPDATE instance SET folding = 0", params![])?;
                Ok::<_, DbError>(())
            })
            .await
            .unwrap();
        hub.db.close().await;
        let hub = open_hub(&database).await;
        let found = async |name: &str| {
            let name = name.to_owned();
            let group = hub.db.read(move |tx| query::find_group(tx, &name)).await.unwrap();
            group.map(|group| group.id)
        };
        // Who looks alike to nobody is found by the new rule; of two that do, both stay.
        assert_eq!(found("abc").await.as_ref(), Some(&alone));
        assert_eq!(found("fife").await.as_ref(), Some(&one));
        assert_eq!(found(&two).await.as_ref(), Some(&two));
        let named = okta.id.clone();
        let said = hub.db.read(move |tx| {
            assert_eq!(connection::find(tx, "okta")?.id, named);
            assert!(accounts::find(tx, "grace").is_ok());
            users::named(tx, &named, "ada").map_err(ConnectionError::from)
        });
        assert_eq!(said.await.unwrap().len(), 1);
        let change = |id: &str, changes: GroupChanges| Command::UpdateGroup {
            id: id.to_owned(),
            changes,
        };
        for id in [&one, &two] {
            let changes = GroupChanges {
                description: Some(Some("changed".to_owned())),
                ..GroupChanges::default()
            };
            apply(&hub, change(id, changes)).await;
        }
        // A name that is chosen anew has to be free by the new rule.
        let rename = GroupChanges {
            name: Some("FIFE".to_owned()),
            ..GroupChanges::default()
        };
        let taken = hub.apply(Caller::system("test"), change(&two, rename)).await;
        assert!(matches!(taken, Err(DirectoryError::Taken { .. })));
        // A user with a name that would be refused today can be changed, expire and be renamed.
        apply(&hub, described(&ada, "changed")).await;
        apply(&hub, Command::ExpireDue).await;
        for id in [ada.clone(), bob] {
            let expired = hub.db.read(move |tx| query::find_user(tx, &id)).await.unwrap();
            assert!(!expired.unwrap().enabled);
        }
        let name = |text: &str| Command::UpdateUser {
            id: ada.clone(),
            changes: UserChanges {
                display_name: Some(text.to_owned()),
                ..UserChanges::default()
            },
        };
        assert!(
            refusal(&hub, name("Ada\u{202e}\u{202e}"))
                .await
                .contains("U+202E")
        );
        apply(&hub, name("Ada")).await;
        hub.db.close().await;
    });
}

#[test]
fn an_import_keeps_the_same_rules() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("hub.db").display());
    make_hub(&folder.path().join("data"), &database);
    let import = |text: &str| {
        std::fs::write(folder.path().join("people.csv"), text).unwrap();
        let arguments = ["--database", &database, "import", "people.csv"];
        rollcall(folder.path(), &arguments).output().unwrap()
    };
    done(&import("username,display_name,path\nada,Ada,Zürich\n"));
    let refused = import("username,display_name,path\nbob,B\u{202e}ob,Zürich\ncleo,Cleo,ZU\u{308}RICH\n");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&refused.stdout),
        String::from_utf8_lossy(&refused.stderr)
    );
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("U+202E (direction override)"), "{said}");
    let units = done(
        &rollcall(folder.path(), &["--database", &database, "unit", "list"])
            .output()
            .unwrap(),
    );
    assert_eq!(units.to_lowercase().matches("rich").count(), 1, "{units}");
}

proptest! {
    #[test]
    fn folding_again_changes_nothing(text in any::<String>()) {
        let folded = fold(&text);
        prop_assert_eq!(fold(&folded), folded);
    }
}
