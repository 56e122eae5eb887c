//! Several processes that deliver from one PostgreSQL: one is killed, one is stopped beyond its lease and
//! wakes up again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollcall::application::Limits;
use rollcall::delivery::ledger::leases::{self, NodeInfo};
use rollcall::hub::Hub;

use crate::plain::{Plain, Say, apply, limit, settled, until, user};
use crate::programs::{Program, hub_folder, serve};
use crate::world::{described, open_hub};

/// A lease of so many seconds.
const LEASE: u64 = 2;

/// A node: the program, with a folder of its own and the database and master key of all.
struct Node {
    program: Program,
    _folder: tempfile::TempDir,
}

impl Node {
    fn start(database: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, database) = (folder.path().join("data"), database.to_owned());
        let configuration = format!("[egress]\nallow = [\"127.0.0.0/8\"]\n[delivery]\nlease = {LEASE}\n");
        hub_folder(&data, &configuration);
        let start = move || serve(&data, &database, "127.0.0.1:0");
        Self {
            program: Program::start(folder.path(), "hub", start),
            _folder: folder,
        }
    }
}

/// An application that counts the requests that come while another one is handled.
struct Watched {
    app: Plain,
    overlaps: Arc<AtomicUsize>,
}

impl Watched {
    async fn new(hub: &Hub, name: &str) -> Self {
        let app = Plain::new(hub, name).await;
        // One request at a time by itself, so that two at once can only be those of two nodes.
        let limits = Limits {
            lanes: 1,
            max_events: 3,
            ..app.application.settings.limits
        };
        limit(hub, &app.application, limits).await;
        let (now, overlaps) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&overlaps);
        app.slow(move || {
            let (now, overlaps) = (Arc::clone(&now), Arc::clone(&counted));
            async move {
                if now.fetch_add(1, Ordering::SeqCst) > 0 {
                    overlaps.fetch_add(1, Ordering::SeqCst);
                }
                let _inside = Inside(now);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        app.say(|_| Say::Yes);
        Self { app, overlaps }
    }

    /// What was told of a subject, as the numbers in the descriptions.
    fn numbers(&self, subject: &str) -> Vec<usize> {
        self.app
            .story_of(subject)
            .iter()
            .filter_map(|event| {
                let record: serde_json::Value = serde_json::from_str(&event.biz_data).unwrap();
                record["description"].as_str()?.parse().ok()
            })
            .collect()
    }
}

/// A request that is being answered. If its sender is killed, the rest of the answer is dropped.
struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn nodes(hub: &Hub) -> Vec<NodeInfo> {
    hub.db.read(leases::nodes).await.unwrap()
}

async fn shared(hub: &Hub, number: usize, applications: usize) {
    until("the applications are spread over the nodes", async || {
        let nodes = nodes(hub).await;
        let held: i64 = nodes.iter().map(|node| node.applications).sum();
        nodes.len() == number
            && usize::try_from(held).unwrap() == applications
            && nodes.iter().all(|node| node.applications > 0)
    })
    .await;
}

#[test]
fn nodes_that_are_killed_or_stopped_lose_nothing_and_turn_nothing_back() {
    let Some(database) = rollcall_db::testing::postgres("killed_nodes") else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let hub = open_hub(&database.url).await;
        let mut apps = Vec::new();
        for number in 0..4 {
            apps.push(Watched::new(&hub, &format!("App {number}")).await);
        }
        let people = [user(&hub, "ann").await, user(&hub, "bob").await];
        let mut written = 0_usize;
        let mut write = async |for_so_long: Duration| {
            let until = std::time::Instant::now() + for_so_long;
            while std::time::Instant::now() < until {
                for person in &people {
                    apply(&hub, described(person, &format!("{written:06}"))).await;
                }
                written += 1;
            }
            written
        };
        let mut one = Node::start(&database.url);
        let two = Node::start(&database.url);
        shared(&hub, 2, apps.len()).await;
        write(Duration::from_millis(500)).await;

        // One dies in the middle of its work; the other takes over.
        one.program.kill();
        write(Duration::from_secs(LEASE)).await;
        shared(&hub, 1, apps.len()).await;

        // Another one joins, and the first is stopped for longer than its lease: it knows nothing of the time
        // that has passed when it wakes up.
        let three = Node::start(&database.url);
        shared(&hub, 2, apps.len()).await;
        write(Duration::from_millis(300)).await;
        two.program.stop();
        write(Duration::from_secs(LEASE)).await;
        shared(&hub, 1, apps.len()).await;
        write(Duration::from_millis(300)).await;
        for watched in &apps {
            let overlaps = watched.overlaps.load(Ordering::SeqCst);
            assert_eq!(overlaps, 0, "two nodes delivered at once");
        }
        two.program.go_on();
        write(Duration::from_millis(500)).await;
        shared(&hub, 2, apps.len()).await;
        let written = write(Duration::from_millis(200)).await;

        for watched in &apps {
            settled(&hub, &watched.app.application).await;
            // A process that is stopped between its look at the lease and the system call sends that one request
            // when it wakes up; what comes of it is not stored. There is no second one. That one may come while a
            // request of the other node is handled, and be handled itself when the next one comes.
            let overlaps = watched.overlaps.load(Ordering::SeqCst);
            assert!(overlaps <= 2, "two nodes delivered at once, {overlaps} times");
            for person in &people {
                in_order(&watched.numbers(person), written);
            }
        }
        drop((two, three));
        hub.db.close().await;
    });
}

/// Everything was told, in order. What was not settled when a node ended is told again, from where it was settled.
fn in_order(told: &[usize], written: usize) {
    let mut times: BTreeMap<usize, usize> = BTreeMap::new();
    let mut newest = None;
    let mut again = 0;
    for pair in told.windows(2) {
        if pair[1] != pair[0] + 1 {
            assert!(
                pair[1] <= pair[0],
                "{} follows {}: something is lost",
                pair[1],
                pair[0]
            );
            again += 1;
        }
    }
    for number in told {
        *times.entry(*number).or_default() += 1;
        newest = newest.max(Some(*number));
    }
    assert_eq!(told.first(), Some(&0));
    assert_eq!(
        (told.last().copied(), newest),
        (written.checked_sub(1), written.checked_sub(1))
    );
    assert_eq!(times.len(), written, "something is lost");
    // At the death of the first node, and when the second was stopped and lost what it had sent.
    assert!(again <= 3, "what was told already was told again {again} times");
}
