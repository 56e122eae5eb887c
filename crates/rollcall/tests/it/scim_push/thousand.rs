//! A thousand users and fifty groups at service providers that others have written, in spite of failures on the way, and
//! after somebody has changed and deleted there what the hub had made.

use super::*;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_MATCH};
use rollcall::delivery::ledger::operate;
use rollcall::delivery::ledger::parked::ParkedState;

use super::compared::{Asked, told};
use super::peer::{Kind, Peer};
use crate::access::Site;

const USERS: usize = 1_000;
const GROUPS: usize = 50;

/// How many users are in each group.
const MEMBERS: usize = 40;

/// What happens to a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Harm {
    /// It does not arrive: 429, and it may come again after a second.
    Limited,
    /// It does not arrive: 500.
    Failed,
    /// It does not arrive, and nobody answers.
    Cut,
    /// It is carried out, and nobody answers.
    Lost,
    /// It is carried out, and the answer comes after the hub has stopped waiting.
    Late,
}

/// The network between the hub and a service provider.
#[derive(Clone)]
struct Between {
    peer: String,
    http: reqwest::Client,
    harms: Arc<Mutex<Harms>>,
}

#[derive(Default)]
struct Harms {
    requests: u64,
    /// Whether requests are harmed now.
    on: bool,
    done: BTreeMap<Harm, u32>,
}

impl Harms {
    /// What happens to the next request: to one of twenty-five, in an order that is always the same.
    fn next(&mut self) -> Option<Harm> {
        self.requests += 1;
        if !self.on || !self.requests.is_multiple_of(25) {
            return None;
        }
        let harm = match self.requests / 25 {
            30 => Harm::Late,
            number if number % 8 == 0 => Harm::Limited,
            number if number % 3 == 0 => Harm::Failed,
            number if number % 3 == 1 => Harm::Lost,
            _ => Harm::Cut,
        };
        *self.done.entry(harm).or_default() += 1;
        Some(harm)
    }
}

impl Between {
    /// Returns it, and the address at which it stands for the service provider.
    async fn start(peer: &Peer) -> (Self, String) {
        let between = Self {
            peer: peer.base.clone(),
            http: reqwest::Client::new(),
            harms: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(pass).with_state(between.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (between, base)
    }

    fn harm(&self, on: bool) {
        self.harms.lock().unwrap().on = on;
    }

    /// What was done so far.
    fn done(&self) -> BTreeMap<Harm, u32> {
        self.harms.lock().unwrap().done.clone()
    }

    /// How many requests there were so far.
    fn requests(&self) -> u64 {
        self.harms.lock().unwrap().requests
    }

    async fn forward(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let path = parts.uri.path_and_query().unwrap();
        let mut headers = HeaderMap::new();
        for name in [AUTHORIZATION, CONTENT_TYPE, ACCEPT, IF_MATCH] {
            if let Some(value) = parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let sent = self.http.request(parts.method, format!("{}{path}", self.peer));
        let answer = sent.headers(headers).body(body).send().await.unwrap();
        let (status, kind) = (answer.status(), answer.headers().get(CONTENT_TYPE).cloned());
        let body = answer.bytes().await.unwrap();
        let mut response = (status, body).into_response();
        if let Some(kind) = kind {
            response.headers_mut().insert(CONTENT_TYPE, kind);
        }
        response
    }
}

/// Ends the connection without an answer, and without a word about it.
fn cut() -> ! {
    std::panic::resume_unwind(Box::new("the test wants it"))
}

async fn pass(State(between): State<Between>, request: Request) -> Response {
    let harm = between.harms.lock().unwrap().next();
    match harm {
        Some(Harm::Limited) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        Some(Harm::Failed) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(Harm::Cut) => cut(),
        Some(Harm::Lost) => {
            between.forward(request).await;
            cut()
        }
        Some(Harm::Late) => {
            let response = between.forward(request).await;
            tokio::time::sleep(Duration::from_secs(45)).await;
            response
        }
        None => between.forward(request).await,
    }
}

/// What the application should have: users as [`Peer::users`] tells of them, and groups with their members.
async fn wanted(hub: &Hub) -> (BTreeSet<String>, BTreeMap<String, BTreeSet<String>>) {
    let read = hub
        .db
        .read(|tx| rollcall::compare::in_scope(tx, &Scope::everything()));
    let all = read.await.unwrap();
    let unit = |units: &BTreeMap<String, bool>| {
        let primary = units
            .iter()
            .find(|(_, primary)| **primary)
            .map(|(id, _)| id.clone());
        all.units[&primary.unwrap()].name.clone().unwrap()
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let users = all.users.values().map(|user| {
        let active = user.status.as_deref() == Some("enabled");
        format!(
            "{} {} {active} {} {}",
            text(&user.username),
            text(&user.display_name),
            text(&user.email),
            unit(&user.units)
        )
    });
    let members = |ids: &BTreeSet<String>| ids.iter().map(|id| text(&all.users[id].username)).collect();
    let groups = all
        .groups
        .values()
        .map(|group| (text(&group.name), members(&group.members)));
    (users.collect(), groups.collect())
}

/// Waits until everything is told, with what was set aside sent again.
async fn all_told(hub: &Hub, application: &Application) {
    until_within(Duration::from_secs(240), "everything is told", async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let head = hub.db.read(rollcall::change::head).await.unwrap().seq;
        if stored(hub, application).await.position != head {
            return false;
        }
        let parked = parked_of(hub, application).await;
        if parked.iter().any(|it| it.state == ParkedState::Failed) {
            let id = application.id.clone();
            let resending = hub.write_as(Caller::system("test"), move |tx, ctx| {
                operate::resend(tx, ctx, &id, None)
            });
            resending.await.unwrap();
        }
        parked.is_empty()
    })
    .await;
}

async fn assert_equal(hub: &Hub, peer: &Peer) {
    let (users, groups) = wanted(hub).await;
    let there = peer.users().await;
    assert_eq!(
        there.difference(&users).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "too much"
    );
    assert_eq!(
        users.difference(&there).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "missing"
    );
    let there = peer.groups().await;
    for (name, members) in &groups {
        assert_eq!(there.get(name), Some(members), "{name}");
    }
    assert_eq!(there.len(), groups.len());
}

#[test]
fn a_thousand_users_arrive_in_spite_of_failures_and_are_repaired() {
    let databases = rollcall_db::testing::databases("scim_thousand");
    // Each of the two on another database, where there are two.
    for (kind, database) in Kind::ALL.into_iter().zip(databases.iter().cycle()) {
        let Some(installed) = kind.installed() else {
            continue;
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let peer = Peer::start(kind, installed).await;
            play(kind, &peer, &database.url).await;
        });
    }
}

async fn play(kind: Kind, peer: &Peer, database: &str) {
    let site = Site::start(database).await;
    let hub = &site.hub;
    let (between, base) = Between::start(peer).await;
    let application = add_at(hub, &base, "s3cret", |_| {}).await;
    let limits = Limits {
        lanes: 4,
        ..Limits::default()
    };
    crate::plain::limit(hub, &application, limits).await;

    // Everybody at once.
    let new = (0..USERS).map(|number| {
        let mut new = new_user(&format!("u{number}"), rollcall::id::ROOT_UNIT);
        new.email = Some(format!("u{number}@example.com"));
        new
    });
    let users = crate::world::create_users(hub, new.collect()).await;
    let mut groups = Vec::new();
    for number in 0..GROUPS {
        let members: Vec<&String> = users.iter().cycle().skip(number * 20).take(MEMBERS).collect();
        groups.push(group_with(hub, &format!("Group {number}"), &members).await);
    }
    between.harm(true);
    let delivery = begin(hub).await;
    all_told(hub, &application).await;
    between.harm(false);
    let first = between.requests();
    assert_equal(hub, peer).await;

    // Changes of all kinds, with failures again.
    between.harm(true);
    for (number, id) in users.iter().enumerate() {
        match number % 10 {
            0 => drop(apply(hub, renamed(id, &format!("r{number}"))).await),
            1 => drop(apply(hub, Command::DisableUser { id: id.clone() }).await),
            2 if number % 20 == 2 => drop(apply(hub, Command::DeleteUser { id: id.clone() }).await),
            _ => {}
        }
    }
    for (number, group) in groups.iter().enumerate() {
        let (leaves, joins) = (&users[number * 20 + 3], &users[(number * 20 + 505) % USERS]);
        let command = Command::RemoveMembers {
            group_id: group.clone(),
            user_ids: vec![leaves.clone()],
        };
        apply(hub, command).await;
        join(hub, group, &[joins]).await;
    }
    apply(
        hub,
        Command::DeleteGroup {
            id: groups[49].clone(),
        },
    )
    .await;
    all_told(hub, &application).await;
    between.harm(false);
    let done = between.done();
    assert_eq!(done.len(), 5, "{done:?}");
    assert_equal(hub, peer).await;
    // Whoever is made is looked for before; whoever changes is changed at once. Failures cost some more.
    let changes = between.requests() - first;
    assert!(first < 3_500 && changes < 700, "{first} requests, then {changes}");

    sabotage_and_repair(kind, &site, peer, &application).await;
    delivery.stop().await;
}

/// Changes and deletes by hand what the hub has made, and has it found and repaired.
async fn sabotage_and_repair(kind: Kind, site: &Site, peer: &Peer, application: &Application) {
    let asked = Asked::of(site, application);
    let compared = asked.compare().await;
    assert_eq!(compared["status"], "done", "{compared}");
    if kind == Kind::Scim2Server {
        // Whoever was deleted is in the groups there still, which a repair ends.
        let differences = asked.differences().await;
        assert!(differences.iter().all(|it| it["missing"] == 0), "{differences:?}");
        let groups = told(&differences);
        assert!(
            groups
                .iter()
                .all(|(kind, name)| kind == "update" && name.starts_with("Group "))
        );
        assert_eq!(asked.repaired_all(&compared["id"]).await["status"], "success");
        assert_eq!(asked.compare().await["status"], "done");
    }
    assert_eq!(told(&asked.differences().await), BTreeSet::new());
    let schema = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
    let patch = |operation: Value| Some(json!({ "schemas": schema, "Operations": [operation] }));
    let mut expected = BTreeSet::new();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut expect = |kind: &str, name: &Value| expected.insert((kind.to_owned(), text(name)));
    let users = peer.all("Users").await;
    for (number, user) in users.iter().enumerate().step_by(20) {
        let path = format!("Users/{}", text(&user["id"]));
        if number % 40 == 0 {
            let operation = json!({ "op": "replace", "path": "displayName", "value": "Somebody else" });
            peer.ask("PATCH", &path, patch(operation)).await;
            expect("update", &user["userName"]);
        } else {
            peer.ask("DELETE", &path, None).await;
            expect("create", &user["userName"]);
        }
    }
    let stranger = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "stranger", "active": true,
    });
    let stranger = peer.ask("POST", "Users", Some(stranger)).await;
    expect("foreign", &stranger["userName"]);
    let groups = peer.all("Groups").await;
    for (number, group) in groups.iter().enumerate().step_by(7) {
        let path = format!("Groups/{}", text(&group["id"]));
        if number % 14 == 0 {
            let member = json!([{ "value": stranger["id"] }]);
            let operation = json!({ "op": "add", "path": "members", "value": member });
            peer.ask("PATCH", &path, patch(operation)).await;
            expect("update", &group["displayName"]);
        } else {
            peer.ask("DELETE", &path, None).await;
            expect("create", &group["displayName"]);
        }
    }
    let compared = asked.compare().await;
    assert_eq!(compared["status"], "done", "{compared}");
    let found = told(&asked.differences().await);
    // Who was deleted there is missing in groups too, so that more of them may differ.
    let is_of_group = |name: &str| name.starts_with("Group ");
    let others = |it: &&(String, String)| !is_of_group(&it.1);
    assert_eq!(
        found.iter().filter(others).collect::<Vec<_>>(),
        expected.iter().filter(others).collect::<Vec<_>>()
    );
    assert!(expected.is_subset(&found), "{found:?}");
    assert_eq!(asked.repaired_all(&compared["id"]).await["status"], "success");
    let compared = asked.compare().await;
    assert_eq!(compared["status"], "done", "{compared}");
    let left = BTreeSet::from([("foreign".to_owned(), "stranger".to_owned())]);
    assert_eq!(told(&asked.differences().await), left);
}
