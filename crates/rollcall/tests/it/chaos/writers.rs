//! Who writes all the time, over the administrator's API, and keeps what was acknowledged.
//!
//! Each writer has users and a group of its own, so that it knows what has to be there. A request whose answer does
//! not come is made again until one comes: it may have been carried out, which the next answer shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rollcall::id::ROOT_UNIT;
use rustix::net::sockopt;
use serde_json::{Value, json};

use crate::simulation::Dice;

/// How long a writer waits for an answer, over all of its tries.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long it waits until it is connected.
const CONNECT: Duration = Duration::from_secs(5);

/// The administrator's API, at any of the nodes.
#[derive(Clone)]
pub(super) struct Api {
    /// How many tries had no answer.
    pub(super) in_doubt: Arc<AtomicUsize>,
    pub(super) nodes: Vec<SocketAddr>,
    pub(super) token: String,
}

/// An answer that says what came of a request.
struct Answered {
    status: u16,
    body: Value,
    /// Whether an earlier try had no answer, and may have been carried out.
    in_doubt: bool,
}

impl Api {
    /// Asks until there is an answer.
    fn ask(&self, dice: &Dice, method: &str, path: &str, body: &Value) -> Answered {
        let deadline = Instant::now() + PATIENCE;
        let mut in_doubt = false;
        loop {
            let node = *dice.pick(&self.nodes).unwrap();
            match self.try_once(node, method, path, body) {
                Ok((status, body)) if status < 500 && status != 429 => {
                    return Answered {
                        status,
                        body,
                        in_doubt,
                    };
                }
                tried => {
                    assert!(
                        Instant::now() < deadline,
                        "no answer to {method} {path}: {tried:?}"
                    );
                    in_doubt = true;
                    self.in_doubt.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }

    fn try_once(&self, node: SocketAddr, method: &str, path: &str, body: &Value) -> io::Result<(u16, Value)> {
        let body = body.to_string();
        let mut stream = TcpStream::connect_timeout(&node, CONNECT)?;
        // A node that is stopped answers when it goes on. To give up before would leave a request behind that is
        // carried out after later ones. Of a node that was killed while it was cut off, nothing comes any more:
        // there the system is asked, which answers for a node that is stopped.
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, Duration::from_secs(2))?;
        sockopt::set_tcp_keepintvl(&stream, Duration::from_secs(2))?;
        sockopt::set_tcp_keepcnt(&stream, 10)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} /api/v1{path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        Ok((status.ok_or_else(cut)?, serde_json::from_str(body)?))
    }

    /// Has something done, and returns its id; `name` is for finding out whether it was made already.
    pub(super) fn make(&self, dice: &Dice, kind: &str, name: &str, body: &Value) -> String {
        let mut answered = self.ask(dice, "POST", kind, body);
        if answered.status == 409 && answered.in_doubt {
            answered = self.ask(dice, "GET", &format!("{kind}/{name}"), &Value::Null);
        }
        assert_eq!(answered.status, 200, "{kind} {body}: {}", answered.body);
        answered.body["id"].as_str().unwrap().to_owned()
    }

    fn change(&self, dice: &Dice, method: &str, path: &str, body: &Value) {
        let answered = self.ask(dice, method, path, body);
        let done_before = method == "DELETE" && answered.status == 404 && answered.in_doubt;
        assert!(
            answered.status == 200 || done_before,
            "{method} {path} {body}: {} {}",
            answered.status,
            answered.body
        );
    }
}

/// The organizational units among which users are moved, and which are moved themselves.
#[derive(Clone)]
pub(super) struct Units {
    pub(super) scope: String,
    pub(super) other: String,
    /// Each may stand below either of the two, or below the root.
    pub(super) movable: [String; 2],
}

/// What a user has to be.
pub(super) struct Person {
    pub(super) description: String,
    pub(super) unit: String,
}

/// What was acknowledged to a writer.
pub(super) struct Acknowledged {
    pub(super) people: BTreeMap<String, Person>,
    pub(super) group: String,
    pub(super) members: BTreeSet<String>,
    /// Where the units stand that it has moved.
    pub(super) parents: BTreeMap<String, String>,
    /// Texts that were written, each once.
    pub(super) texts: Vec<String>,
    pub(super) writes: usize,
}

/// A thread that writes.
pub(super) struct Writer {
    number: usize,
    api: Api,
    dice: Dice,
    units: Units,
    done: Acknowledged,
}

impl Writer {
    /// Starts to write; `group` is its own, and only the first one moves units.
    pub(super) fn start(
        number: usize,
        api: &Api,
        seed: u64,
        units: &Units,
        group: &str,
        end: &Arc<AtomicBool>,
    ) -> JoinHandle<Acknowledged> {
        let mut writer = Self {
            number,
            api: api.clone(),
            dice: Dice::new(seed),
            units: units.clone(),
            done: Acknowledged {
                people: BTreeMap::new(),
                group: group.to_owned(),
                members: BTreeSet::new(),
                parents: BTreeMap::new(),
                texts: Vec::new(),
                writes: 0,
            },
        };
        let end = Arc::clone(end);
        thread::spawn(move || {
            while !end.load(Ordering::SeqCst) {
                writer.write();
            }
            writer.done
        })
    }

    fn write(&mut self) {
        let people: Vec<String> = self.done.people.keys().cloned().collect();
        let some = self.dice.pick(&people).cloned();
        match (self.dice.below(20), some) {
            (0..=2, _) if people.len() < 15 => self.create(),
            (_, None) => self.create(),
            (3, Some(id)) if people.len() > 5 => self.delete(&id),
            (4..=7, Some(id)) => self.move_user(&id),
            (8..=10, Some(id)) => self.join_or_leave(&id),
            (11, _) if self.number == 0 => self.move_unit(),
            (_, Some(id)) => self.describe(&id),
        }
        self.done.writes += 1;
    }

    fn text(&mut self) -> String {
        let text = format!("{}-{}", self.number, self.done.texts.len());
        self.done.texts.push(text.clone());
        text
    }

    fn unit(&self) -> String {
        let [one, two] = &self.units.movable;
        let units = [&self.units.scope, &self.units.other, one, two];
        (*self.dice.pick(&units).unwrap()).clone()
    }

    fn create(&mut self) {
        let (description, unit) = (self.text(), self.unit());
        let username = format!("user-{description}");
        let body = json!({
            "username": username,
            "displayName": format!("{username} ☃"),
            "primaryOrganizationalUnitId": unit,
            "description": description,
        });
        let id = self.api.make(&self.dice, "/users", &username, &body);
        self.done.people.insert(id, Person { description, unit });
    }

    fn delete(&mut self, id: &str) {
        let path = format!("/users/{id}");
        self.api.change(&self.dice, "DELETE", &path, &Value::Null);
        self.done.people.remove(id);
        self.done.members.remove(id);
    }

    fn describe(&mut self, id: &str) {
        let text = self.text();
        let path = format!("/users/{id}");
        let body = json!({ "description": text });
        self.api.change(&self.dice, "PATCH", &path, &body);
        self.done.people.get_mut(id).unwrap().description = text;
    }

    fn move_user(&mut self, id: &str) {
        let unit = self.unit();
        let path = format!("/users/{id}/organizational-units");
        self.api
            .change(&self.dice, "POST", &path, &json!({ "primary": unit }));
        self.done.people.get_mut(id).unwrap().unit = unit;
    }

    fn join_or_leave(&mut self, id: &str) {
        let leaves = self.done.members.contains(id);
        let path = format!(
            "/groups/{}/members{}",
            self.done.group,
            if leaves { "/remove" } else { "" }
        );
        let body = json!({ "userIds": [id] });
        self.api.change(&self.dice, "POST", &path, &body);
        if leaves {
            self.done.members.remove(id);
        } else {
            self.done.members.insert(id.to_owned());
        }
    }

    fn move_unit(&mut self) {
        let unit = self.dice.pick(&self.units.movable).unwrap().clone();
        let parents = [self.units.scope.as_str(), &self.units.other, ROOT_UNIT];
        let parent = (*self.dice.pick(&parents).unwrap()).to_owned();
        let path = format!("/organizational-units/{unit}/move");
        self.api
            .change(&self.dice, "POST", &path, &json!({ "parentId": parent }));
        self.done.parents.insert(unit, parent);
    }
}
