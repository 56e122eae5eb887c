//! Pages of users by number: each is the same as in the whole list, whatever was made and deleted since the last look.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rollcall::access::Caller;
use rollcall::directory::ladder::Ladder;
use rollcall::directory::{Command, Sight, lists};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_db::DbError;
use std::sync::Arc;

use crate::access::on_each;
use crate::world::new_user;

/// The page after so many users, and how many there are.
async fn page(hub: &Hub, ladder: &Arc<Ladder>, offset: usize, limit: usize) -> (Vec<String>, u64) {
    let ladder = Arc::clone(ladder);
    let part = hub.db.read(move |tx| {
        let part = lists::users(tx, (&Sight::EVERYTHING, &ladder), None, offset, limit)?;
        let ids = part.found.into_iter().map(|user| user.id).collect();
        Ok::<_, DbError>((ids, part.total))
    });
    part.await.unwrap()
}

async fn all(hub: &Hub) -> Vec<String> {
    let rows = hub
        .db
        .read(|tx| tx.query("SELECT id FROM users", rollcall_db::params![]))
        .await
        .unwrap();
    let mut ids: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
    ids.sort();
    ids
}

async fn apply(hub: &Hub, command: Command) -> String {
    hub.apply(Caller::system("test"), command).await.unwrap().id
}

#[test]
fn a_page_by_number_is_that_of_the_whole_list() {
    on_each("developer_pages", |site| async move {
        let hub = &site.hub;
        let mut chance = StdRng::seed_from_u64(11);
        let often = Arc::new(Ladder::with_steps_of(3));
        let seldom = Arc::new(Ladder::with_steps_of(4));
        let mut made = 0;
        for round in 0..40 {
            // Many more come than go, then the other way round, until nobody is left.
            for _ in 0..chance.random_range(1..9) {
                let there = all(hub).await;
                let comes = match round {
                    0..20 => chance.random_bool(0.8),
                    _ => chance.random_bool(0.1),
                };
                if comes || there.is_empty() {
                    made += 1;
                    apply(hub, Command::CreateUser(new_user(&format!("u{made}"), ROOT_UNIT))).await;
                } else {
                    let id = there[chance.random_range(0..there.len())].clone();
                    apply(hub, Command::DeleteUser { id }).await;
                }
            }
            let there = all(hub).await;
            let ladders = match round % 7 {
                0 => vec![&often, &seldom],
                _ => vec![&often],
            };
            for ladder in ladders {
                for offset in 0..there.len() + 3 {
                    let (found, total) = page(hub, ladder, offset, 5).await;
                    let expected: Vec<String> = there.iter().skip(offset).take(5).cloned().collect();
                    assert_eq!(
                        (found, total),
                        (expected, there.len() as u64),
                        "round {round}, {offset}"
                    );
                }
            }
            if round % 5 == 4 {
                // Retention takes the log away up to its end: what was since the last look is told no more.
                let trim = hub
                    .db
                    .write(|tx| tx.execute("DELETE FROM changes", rollcall_db::params![]));
                trim.await.unwrap();
            }
        }
    });
}

#[test]
fn whoever_reads_an_earlier_snapshot_is_told_the_truth_of_it() {
    on_each("developer_earlier_page", |site| async move {
        let hub = &site.hub;
        let ladder = Arc::new(Ladder::with_steps_of(2));
        for number in 0..5 {
            apply(
                hub,
                Command::CreateUser(new_user(&format!("u{number}"), ROOT_UNIT)),
            )
            .await;
        }
        let before = all(hub).await;
        let (shared, other, later) = (Arc::clone(&ladder), hub.clone(), Arc::clone(&ladder));
        let (go, gone) = std::sync::mpsc::channel();
        let (saw, seen) = tokio::sync::oneshot::channel();
        let mut saw = Some(saw);
        let early = hub.db.read(move |tx| {
            // The snapshot begins with the first look.
            rollcall::change::head(tx)?;
            if let Some(saw) = saw.take() {
                saw.send(()).unwrap();
                gone.recv().unwrap();
            }
            let part = lists::users(tx, (&Sight::EVERYTHING, &shared), None, 2, 10)?;
            Ok::<_, DbError>((
                part.found.into_iter().map(|user| user.id).collect::<Vec<_>>(),
                part.total,
            ))
        });
        let meanwhile = async {
            seen.await.unwrap();
            apply(&other, Command::CreateUser(new_user("late", ROOT_UNIT))).await;
            assert_eq!(page(&other, &later, 0, 10).await.1, 6);
            go.send(()).unwrap();
        };
        let (early, ()) = tokio::join!(early, meanwhile);
        assert_eq!(early.unwrap(), (before[2..].to_vec(), 5));
    });
}
