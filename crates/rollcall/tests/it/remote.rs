//! What is remembered of objects at an application that gives them ids of its own.

use std::sync::Arc;

use rollcall::access::Caller;
use rollcall::application;
use rollcall::backup;
use rollcall::clock::Clock;
use rollcall::delivery::ledger::{self, Fence, LedgerError, Settlement, remote};
use rollcall::delivery::model::{Remembered, Remote};
use rollcall::hub::Hub;
use rollcall::schema;
use rollcall_db::testing::databases;
use rollcall_db::{Db, DbError, Options};
use rollcall_protocol::{SubjectKind, SystemRandom};

use crate::plain::Plain;
use crate::world::{on_both, open_hub};

fn remembered(subject: &str, remote: Option<Remote>) -> Remembered {
    Remembered {
        kind: SubjectKind::User,
        subject_id: subject.to_owned(),
        remote,
    }
}

fn ada() -> Remote {
    Remote {
        id: "77".to_owned(),
        told: Some([7; 32]),
        etag: Some("W/\"1\"".to_owned()),
        left: false,
        members_in_doubt: true,
    }
}

async fn settle(hub: &Hub, fence: &Fence, remembered: Vec<Remembered>) -> Result<(), LedgerError> {
    let fence = fence.clone();
    let settlement = Settlement {
        remembered,
        ..Settlement::default()
    };
    hub.db
        .settle(move |tx| ledger::settle(tx, &fence, &settlement, 1))
        .await
}

async fn known(db: &Db, application: &str, subject: &str) -> Option<Remote> {
    let (application, subject) = (application.to_owned(), subject.to_owned());
    db.read(move |tx| {
        let mut found = remote::of(tx, &application, std::slice::from_ref(&subject))?;
        Ok::<_, DbError>(found.remove(&subject))
    })
    .await
    .unwrap()
}

#[test]
fn what_was_learned_is_settled_with_its_request_or_not_at_all() {
    on_both("remembered", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let id = Plain::new(&hub, "App").await.application.id.clone();
        let fence = Fence {
            application_id: id.clone(),
            epoch: 0,
            revision: 0,
        };
        settle(&hub, &fence, vec![remembered("user_1", Some(ada()))])
            .await
            .unwrap();
        assert_eq!(known(&hub.db, &id, "user_1").await, Some(ada()));
        assert_eq!(known(&hub.db, &id, "user_2").await, None);
        // A settlement that is fenced teaches nothing.
        let other = Remote {
            id: "78".to_owned(),
            ..ada()
        };
        let fenced = settle(&hub, &fence, vec![remembered("user_1", Some(other))]).await;
        assert!(matches!(fenced, Err(LedgerError::Fenced)));
        assert_eq!(known(&hub.db, &id, "user_1").await, Some(ada()));
        let left = Remote {
            told: None,
            etag: None,
            left: true,
            ..ada()
        };
        settle(
            &hub,
            &fence.next(),
            vec![remembered("user_1", Some(left.clone()))],
        )
        .await
        .unwrap();
        assert_eq!(known(&hub.db, &id, "user_1").await, Some(left));
        let asked = id.clone();
        let holder = hub
            .db
            .read(move |tx| {
                let user = remote::holder(tx, &asked, SubjectKind::User, "77")?;
                let group = remote::holder(tx, &asked, SubjectKind::Group, "77")?;
                Ok::<_, DbError>((user, group))
            })
            .await
            .unwrap();
        assert_eq!(holder, (Some("user_1".to_owned()), None));
        settle(&hub, &fence.next().next(), vec![remembered("user_1", None)])
            .await
            .unwrap();
        assert_eq!(known(&hub.db, &id, "user_1").await, None);
        // What an application was taught goes with it.
        let fence = fence.next().next().next();
        settle(&hub, &fence, vec![remembered("user_1", Some(ada()))])
            .await
            .unwrap();
        let delete = application::Command::Delete { id: id.clone() };
        hub.apply_application(Caller::system("test"), delete)
            .await
            .unwrap();
        assert_eq!(known(&hub.db, &id, "user_1").await, None);
    });
}

#[test]
fn a_restored_hub_knows_ids_and_not_what_was_told() {
    on_both("remembered_restored", |from, _| async move {
        let hub = open_hub(&from).await;
        let id = Plain::new(&hub, "App").await.application.id.clone();
        let fence = Fence {
            application_id: id.clone(),
            epoch: 0,
            revision: 0,
        };
        settle(&hub, &fence, vec![remembered("user_1", Some(ada()))])
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.backup");
        backup::write(&hub.db, &file, 1).await.unwrap();
        for target in databases("remembered_restored_into") {
            let url = target.url.clone();
            let opening = move || Db::open(&url, schema::migrations(), Options::default()).unwrap();
            let db = tokio::task::spawn_blocking(opening).await.unwrap();
            let now = Clock::system().now();
            backup::restore(&db, &file, folder.path(), now, Arc::new(SystemRandom))
                .await
                .unwrap();
            let expected = Remote {
                told: None,
                etag: None,
                ..ada()
            };
            assert_eq!(known(&db, &id, "user_1").await, Some(expected));
            db.close().await;
        }
    });
}
