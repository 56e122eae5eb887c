//! What the directory's records say on the wire, held against the wire contract, section 4.

use rollcall::access::Caller;
use rollcall::application::{
    self, ApplicationError, Encryption, NewApplication, Scope, Settings, SettingsError,
};
use rollcall::application::{Subscription, keys::NewKey};
use rollcall::change;
use rollcall::directory::{Command, LOCKED_UNTIL_UNLOCKED, NewGroup, NewUnit, Source, UserChanges, query};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_db::testing::databases;
use rollcall_protocol::{EncryptionKey, SubjectKind, SystemRandom};
use serde_json::{Value, json};

use crate::world::{new_user, open_hub};

fn on_each<F, T>(name: &str, test: F)
where
    F: Fn(String) -> T,
    T: Future<Output = ()>,
{
    for database in databases(name) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(test(database.url.clone()));
    }
}

async fn apply(hub: &Hub, command: Command) -> String {
    hub.apply(Caller::system("test"), command).await.unwrap().id
}

/// The record of a subject's last change; what a full synchronization sends is the same.
async fn record(hub: &Hub, kind: SubjectKind, id: &str) -> Value {
    let wanted = id.to_owned();
    let (log, now) = hub
        .db
        .read(move |tx| {
            let log = change::read_after(tx, 0, usize::MAX)?;
            Ok::<_, rollcall_db::DbError>((log, query::record_of(tx, kind, &wanted)?))
        })
        .await
        .unwrap();
    let told = log
        .into_iter()
        .rev()
        .find(|change| change.subject_id == id)
        .unwrap();
    assert_eq!(
        Some(told.record.as_str()),
        now.as_ref().map(|(record, _)| record.as_str())
    );
    serde_json::from_str(&told.record).unwrap()
}

/// The fields of these names, in this order; null where there is none.
fn fields(record: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| record[*name].clone()).collect()
}

#[test]
fn what_is_made_in_the_hub_has_the_instance_as_its_source() {
    on_each("made_in_the_hub", |url| async move {
        let hub = open_hub(&url).await;
        let unit = apply(
            &hub,
            Command::CreateUnit(NewUnit {
                name: "A".into(),
                parent_id: ROOT_UNIT.into(),
                ..NewUnit::default()
            }),
        )
        .await;
        let group = apply(
            &hub,
            Command::CreateGroup(NewGroup {
                name: "G".into(),
                ..NewGroup::default()
            }),
        )
        .await;
        let user = apply(&hub, Command::CreateUser(new_user("ada", &unit))).await;
        let instance = &hub.instance.id;
        let own = ["sourceType", "sourceId", "externalId"];
        let newer =
            |prefix: &str| ["SourceType", "SourceId", "ExternalId"].map(|name| format!("{prefix}{name}"));
        for (kind, id, prefix) in [
            (SubjectKind::User, &user, "user"),
            (SubjectKind::Unit, &unit, "organizationalUnit"),
            (SubjectKind::Group, &group, "group"),
            (SubjectKind::Unit, &ROOT_UNIT.to_owned(), "organizationalUnit"),
        ] {
            let record = record(&hub, kind, id).await;
            let expected = json!(["build_in", instance, id]);
            let newer = newer(prefix);
            assert_eq!(
                fields(&record, &newer.each_ref().map(String::as_str)),
                expected,
                "{record}"
            );
            if kind != SubjectKind::Group {
                assert_eq!(fields(&record, &own), expected, "{record}");
            }
        }
        // What comes from elsewhere keeps its own, and the hub's own id is no external id in the database.
        let mut imported = new_user("bob", &unit);
        imported.source = "ldap:example".parse::<Source>().unwrap();
        let imported = apply(&hub, Command::CreateUser(imported)).await;
        let record = record(&hub, SubjectKind::User, &imported).await;
        assert_eq!(fields(&record, &own), json!(["ldap", "example", null]));
        let stored = hub
            .db
            .read(move |tx| query::find_user(tx, "ada"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(stored.external_id, None);
    });
}

#[test]
fn an_external_id_of_its_own_is_told_also_for_what_is_made_in_the_hub() {
    on_each("own_external", |url| async move {
        let hub = open_hub(&url).await;
        let mut new = new_user("ada", ROOT_UNIT);
        new.external_id = Some("E1".into());
        let ada = apply(&hub, Command::CreateUser(new)).await;
        let told = record(&hub, SubjectKind::User, &ada).await;
        assert_eq!(
            fields(&told, &["sourceId", "externalId", "userExternalId"]),
            json!([hub.instance.id, "E1", "E1"])
        );
    });
}

#[test]
fn locks_are_told_as_times() {
    on_each("locks", |url| async move {
        let hub = open_hub(&url).await;
        let ada = apply(&hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        let lock = |until| Command::LockUser {
            id: ada.clone(),
            until,
        };
        let told = async || record(&hub, SubjectKind::User, &ada).await["lockExpireTime"].clone();
        assert_eq!(told().await, "-1");
        apply(&hub, lock(None)).await;
        assert_eq!(told().await, "253402214400000");
        // A day before the first millisecond of the year 10000.
        assert_eq!(LOCKED_UNTIL_UNLOCKED, (253_402_300_800 - 86_400) * 1_000);
        // Nobody unlocks it but somebody.
        apply(&hub, Command::ExpireDue).await;
        assert_eq!(told().await, "253402214400000");
        let until = hub.clock.now() + 60_000;
        apply(&hub, lock(Some(until))).await;
        assert_eq!(told().await, until.to_string());
        apply(&hub, Command::UnlockUser { id: ada.clone() }).await;
        assert_eq!(told().await, "-1");
        let refused = hub
            .apply(Caller::system("test"), lock(Some(-1)))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), "invalid_field");
    });
}

#[test]
fn a_lock_without_an_end_that_was_stored_before_is_told_as_one() {
    on_each("old_lock", |url| async move {
        let hub = open_hub(&url).await;
        let ada = apply(&hub, Command::CreateUser(new_user("ada", ROOT_UNIT))).await;
        let id = ada.clone();
        hub.db
            .write(move |tx| {
                let sql = "UPDATE users SET lock_expire_time = -1 WHERE id = $1";
                tx.execute(sql, rollcall_db::params![id.as_str()])
            })
            .await
            .unwrap();
        apply(&hub, Command::DisableUser { id: ada.clone() }).await;
        let told = record(&hub, SubjectKind::User, &ada).await;
        assert_eq!(told["lockExpireTime"], "253402214400000");
    });
}

#[test]
fn empty_texts_are_told() {
    on_each("empty_texts", |url| async move {
        let hub = open_hub(&url).await;
        let mut new = new_user("ada", ROOT_UNIT);
        new.description = Some("first".into());
        let ada = apply(&hub, Command::CreateUser(new)).await;
        let changes = UserChanges {
            description: Some(None),
            ..UserChanges::default()
        };
        apply(
            &hub,
            Command::UpdateUser {
                id: ada.clone(),
                changes,
            },
        )
        .await;
        let told = record(&hub, SubjectKind::User, &ada).await;
        assert_eq!(fields(&told, &["description", "phoneRegion"]), json!(["", ""]));
        // A number or an address that is empty would be one to a receiver that wants it to be unique.
        assert_eq!(fields(&told, &["phoneNumber", "email"]), json!([null, null]));
        let root = record(&hub, SubjectKind::Unit, ROOT_UNIT).await;
        assert_eq!(root["description"], "");
    });
}

#[test]
fn only_keys_of_256_bits_are_taken() {
    on_each("key_size", |url| async move {
        let hub = open_hub(&url).await;
        for digits in [32, 48, 64] {
            let now = hub.clock.now();
            let new = NewApplication {
                name: format!("App {digits}"),
                settings: Settings::event_callback("https://app.example/events", Encryption::Required),
                encryption_key: Some(EncryptionKey::from_hex(&"ab".repeat(digits / 2)).unwrap()),
                secret: None,
                scope: Scope::everything(),
                subscription: Subscription::everything(),
                signing_key: NewKey::generate(now, &SystemRandom, &hub.master).unwrap(),
            };
            let create = application::Command::Create(Box::new(new));
            let made = hub.apply_application(Caller::system("test"), create).await;
            match made {
                Ok(_) => assert_eq!(digits, 64),
                Err(ApplicationError::Settings(SettingsError::KeySize(given))) => {
                    assert!(digits != 64 && given == digits);
                }
                Err(other) => panic!("{other}"),
            }
        }
    });
}
