//! The door of the applications, and what the audit log says of both doors.

use std::collections::BTreeSet;

use rollcall::access::{Caller, Origin, Principal};
use rollcall::application::keys::NewKey;
use rollcall::application::{
    self, Application, ApplicationError, Command as AppCommand, Edit, Encryption, Entitlements,
    NewApplication, Scope, ScopeEdit, Settings, SettingsPatch, Subscription,
};
use rollcall::audit::{self, Entry, Filter};
use rollcall::delivery::job;
use rollcall::directory::Command;
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::maintenance::erasure::erase_user;
use rollcall_protocol::{EncryptionKey, EventType, SystemRandom};

use crate::two_doors::{Cast, make, test, within};
use crate::world::{described, new_user, on_both, open_hub};

fn new_application(hub: &Hub, name: &str, scope: Scope) -> AppCommand {
    AppCommand::Create(Box::new(NewApplication {
        name: name.into(),
        settings: Settings::event_callback("https://app.example/in?key=hush", Encryption::Required),
        encryption_key: Some(EncryptionKey::generate(&SystemRandom)),
        secret: None,
        scope,
        subscription: Subscription::everything(),
        signing_key: NewKey::generate(hub.clock.now(), &SystemRandom, &hub.master).unwrap(),
    }))
}

async fn command(hub: &Hub, command: AppCommand) -> Application {
    let applied = hub.apply_application(test(), command).await;
    applied.unwrap().application
}

fn update(id: &str, settings: SettingsPatch) -> AppCommand {
    AppCommand::Update {
        id: id.into(),
        name: None,
        secret: None,
        settings,
    }
}

#[test]
fn two_administrators_who_change_different_things_both_have_their_will() {
    on_both("patches", |database, _| async move {
        let hub = open_hub(&database).await;
        let wiki = command(&hub, new_application(&hub, "Wiki", Scope::everything())).await;
        let events = SettingsPatch {
            max_events: Some(7),
            ..SettingsPatch::default()
        };
        let lanes = SettingsPatch {
            lanes: Some(4),
            ..SettingsPatch::default()
        };
        // Both have read the application as it was made.
        let (one, two) = tokio::join!(
            command(&hub, update(&wiki.id, events.clone())),
            command(&hub, update(&wiki.id, lanes.clone()))
        );
        assert_ne!(one.update_time, two.update_time);
        let id = wiki.id.clone();
        let stored = hub
            .db
            .read(move |tx| application::store::load(tx, &id))
            .await
            .unwrap();
        assert_eq!(
            (stored.settings.limits.max_events, stored.settings.limits.lanes),
            (7, 4)
        );
        assert_eq!(stored.settings.mode, wiki.settings.mode);
        // The same again changes nothing, and raises no version.
        let again = hub
            .apply_application(test(), update(&wiki.id, events.clone()))
            .await
            .unwrap();
        assert!(!again.changed);
        assert_eq!(again.application.version, stored.version);
        // Whoever names a version is told.
        let late = test().expecting(wiki.update_time);
        let refused = hub.apply_application(late, update(&wiki.id, lanes)).await;
        assert!(matches!(refused.unwrap_err(), ApplicationError::Changed { .. }));
        // Of the subscription, only what is named.
        let fewer = Edit::Change {
            add: BTreeSet::new(),
            remove: [EventType::UserLock].into(),
        };
        let (id, events) = (wiki.id.clone(), fewer);
        command(
            &hub,
            AppCommand::SetSubscription {
                id,
                events,
                confirmed: None,
            },
        )
        .await;
        let id = wiki.id.clone();
        let current = hub.db.read(move |tx| Entitlements::load(tx, &id)).await.unwrap();
        let current = current.current();
        assert!(current.scope.is_everything() && !current.subscription.contains(EventType::UserLock));
        assert_eq!(
            current.subscription.events().count() + 1,
            Subscription::everything().events().count()
        );
        hub.db.close().await;
    });
}

#[test]
fn a_scope_changes_part_by_part_and_never_without_its_job() {
    on_both("scope_parts", |database, _| async move {
        let hub = open_hub(&database).await;
        let cast = Cast::assemble(&hub).await;
        let scope = Scope {
            organizational_unit_ids: [cast.units[1].clone()].into(),
            group_ids: [cast.groups[0].clone()].into(),
        };
        let wiki = command(&hub, new_application(&hub, "Wiki", scope)).await;
        let add = ScopeEdit {
            units: Edit::Change {
                add: [cast.units[2].clone()].into(),
                remove: BTreeSet::new(),
            },
            ..ScopeEdit::default()
        };
        let alone = AppCommand::SetScope {
            id: wiki.id.clone(),
            scope: add.clone(),
            job: "job_of_nobody".into(),
        };
        let refused = hub.apply_application(test(), alone).await;
        assert!(matches!(refused.unwrap_err(), ApplicationError::NoJob(_)));
        let (id, edit) = (wiki.id.clone(), add.clone());
        let shown = hub.db.read(move |tx| job::plan(tx, &id, &edit)).await.unwrap();
        // B with `u2` and BA with `u5`; `both0` stands in A already, `both1` in AAA. `u0` is there by its group.
        assert_eq!(
            (shown.enter.counts.organizational_units, shown.enter.counts.users),
            (2, 2)
        );
        assert_eq!(shown.enter.first_users, ["u2", "u5"]);
        assert_eq!(shown.leave.counts, job::Counts::default());
        assert_eq!(
            shown.after.group_ids, shown.before.group_ids,
            "what is not named stays"
        );
        // Somebody comes between plan and confirmation: what was shown is not what would be done.
        let late = make(&hub, Command::CreateUser(new_user("late", &cast.units[2]))).await;
        let confirmed = Some(shown.token.clone());
        let refused = job::change_scope(&hub, test(), &wiki.id, add.clone(), confirmed).await;
        assert!(matches!(
            refused.unwrap_err(),
            job::JobError::Application(ApplicationError::PlanChanged)
        ));
        let (id, edit) = (wiki.id.clone(), add.clone());
        let shown = hub.db.read(move |tx| job::plan(tx, &id, &edit)).await.unwrap();
        assert_eq!(shown.enter.counts.users, 3);
        let confirmed = Some(shown.token.clone());
        let (plan, job_id) = job::change_scope(&hub, test(), &wiki.id, add, confirmed)
            .await
            .unwrap();
        assert_eq!(plan, shown);
        let items = hub
            .db
            .read(move |tx| {
                tx.query(
                    "SELECT subject_id FROM job_items WHERE job_id = $1 ORDER BY ordinal",
                    &[job_id.as_str().into()],
                )?
                .iter()
                .map(|row| row.get(0))
                .collect::<Result<Vec<String>, rollcall_db::DbError>>()
            })
            .await
            .unwrap();
        let expected = [
            &cast.units[2],
            &cast.units[5],
            &cast.users[2],
            &cast.users[5],
            &late,
        ];
        assert_eq!(items.iter().collect::<Vec<_>>(), expected, "parents first");
        hub.db.close().await;
    });
}

#[test]
fn an_application_beyond_the_authority_does_not_exist() {
    on_both("app_authority", |database, _| async move {
        let hub = open_hub(&database).await;
        let cast = Cast::assemble(&hub).await;
        let only = |unit: &String| Scope {
            organizational_unit_ids: [unit.clone()].into(),
            ..Scope::default()
        };
        let mine = command(&hub, new_application(&hub, "Mine", only(&cast.units[3]))).await;
        let whole = command(&hub, new_application(&hub, "Whole", Scope::everything())).await;
        let empty = command(&hub, new_application(&hub, "Empty", Scope::default())).await;
        let caller = || test().within(within(&[&cast.units[1]], &[]));
        let off = |app: &Application| AppCommand::DisableSynchronization { id: app.id.clone() };
        assert!(hub.apply_application(caller(), off(&mine)).await.unwrap().changed);
        for other in [&whole, &empty] {
            let refused = hub.apply_application(caller(), off(other)).await;
            assert!(matches!(refused.unwrap_err(), ApplicationError::NotFound(_)));
        }
        let wide = hub
            .apply_application(caller(), new_application(&hub, "Wide", Scope::everything()))
            .await;
        assert!(matches!(wide.unwrap_err(), ApplicationError::OutsideScope(_)));
        command(&hub, AppCommand::EnableSynchronization { id: mine.id.clone() }).await;
        let edit = ScopeEdit::to(&only(&cast.units[2]));
        let refused = job::change_scope(&hub, caller(), &mine.id, edit, None).await;
        assert!(matches!(
            refused.unwrap_err(),
            job::JobError::Application(ApplicationError::OutsideScope(_))
        ));
        hub.db.close().await;
    });
}

async fn entries(hub: &Hub, filter: Filter) -> Vec<Entry> {
    hub.db
        .read(move |tx| audit::list(tx, &filter, 100))
        .await
        .unwrap()
}

#[test]
fn the_audit_log_tells_who_did_what_from_where_and_no_secret() {
    on_both("audit", |database, _| async move {
        let hub = open_hub(&database).await;
        let token = || {
            let principal = Principal::Token { id: "t1".into() };
            let (request_id, address) = ("req_1".into(), "192.0.2.7".parse().ok());
            Caller::from(principal).from_there(Origin::Api { request_id, address })
        };
        let create = new_application(&hub, "Wiki", Scope::everything());
        let wiki = hub.apply_application(token(), create).await.unwrap().application;
        let id = wiki.id.clone();
        let generated = hub
            .apply_application(token(), AppCommand::GenerateEncryptionKey { id })
            .await;
        let key = generated.unwrap().encryption_key.unwrap().to_hex();
        let lanes = SettingsPatch {
            lanes: Some(4),
            ..SettingsPatch::default()
        };
        hub.apply_application(token(), update(&wiki.id, lanes))
            .await
            .unwrap();
        let ada = hub
            .apply(token(), Command::CreateUser(new_user("ada", ROOT_UNIT)))
            .await
            .unwrap()
            .id;
        hub.apply(test(), described(&ada, "a private matter"))
            .await
            .unwrap();
        let failed = hub
            .apply_application(token(), update("app_of_nobody", SettingsPatch::default()))
            .await;
        assert!(failed.is_err());

        let all = entries(&hub, Filter::default()).await;
        let text = serde_json::to_string(&all).unwrap();
        assert!(!text.contains("hush") && !text.contains(key.as_str()), "{text}");
        let by_token = entries(
            &hub,
            Filter {
                who: Some("token:t1".into()),
                ..Filter::default()
            },
        )
        .await;
        let actions: BTreeSet<&str> = by_token.iter().map(|entry| entry.action.as_str()).collect();
        let expected = ["create", "set_encryption_key", "ud:user:create", "update"];
        assert_eq!(actions, expected.into());
        assert!(
            by_token
                .iter()
                .all(|entry| entry.origin.as_deref() == Some("api req_1 192.0.2.7"))
        );
        let updated = by_token.iter().find(|entry| entry.action == "update").unwrap();
        assert_eq!(
            (updated.target_name.as_str(), updated.target_id.as_str()),
            ("Wiki", wiki.id.as_str())
        );
        assert_eq!(updated.before.as_ref().unwrap()["limits"]["lanes"], 1);
        assert_eq!(updated.after.as_ref().unwrap()["limits"]["lanes"], 4);
        assert!(
            updated.after.as_ref().unwrap().get("name").is_none(),
            "only what is different"
        );
        let of_ada = || Filter {
            targets: vec![ada.clone()],
            ..Filter::default()
        };
        let told = entries(&hub, of_ada()).await;
        assert_eq!(told[0].after.as_ref().unwrap()["description"], "a private matter");
        assert_eq!(told[0].before.as_ref().unwrap()["description"], "");
        assert_eq!(
            (told[0].actor.as_str(), told[0].origin.as_ref()),
            ("system:test", None)
        );
        let later = Filter {
            since: Some(hub.clock.now() + 60_000),
            ..Filter::default()
        };
        assert!(entries(&hub, later).await.is_empty());

        // Whoever is erased leaves nothing here.
        erase_user(&hub, &test(), &ada).await.unwrap();
        let told = entries(&hub, of_ada()).await;
        let text = serde_json::to_string(&told).unwrap();
        assert!(!text.contains("private") && !text.contains("ada"), "{text}");
        assert!(told.iter().any(|entry| entry.action == "erase"));
        hub.db.close().await;
    });
}
