//! Connections, and what they ask for over SCIM.

mod bulk;
mod connections;
mod dialogues;
mod groups;
mod lists;
mod pushed;
mod routes;
mod tester;
mod users;

use rollcall::access::Caller;
use rollcall::connection::tokens::{NewConnectionToken, Term};
use rollcall::connection::{Command, Connection, NewConnection};
use rollcall::directory::User;
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::secret::ExposeSecret as _;
use serde_json::{Value, json};

use crate::access::{Said, Site, bearer};

/// A connection that changes what is usual.
pub(crate) fn new_connection(name: &str, changes: &Value) -> NewConnection {
    let mut fields = json!({ "name": name, "organizationalUnitId": ROOT_UNIT });
    for (field, value) in changes.as_object().into_iter().flatten() {
        fields[field] = value.clone();
    }
    serde_json::from_value(fields).unwrap()
}

/// Makes a connection with a token.
pub(crate) async fn connect(hub: &Hub, name: &str, changes: &Value) -> (Connection, String) {
    let create = Command::Create(new_connection(name, changes));
    let caller = || Caller::system("test");
    let made = hub.apply_connection(caller(), create).await.unwrap();
    let connection = made.connection().unwrap();
    let (new, secret) = NewConnectionToken::generate(
        connection.id.clone(),
        Term::Days(9),
        hub.clock.now(),
        &*hub.random,
    )
    .unwrap();
    let create = Command::CreateToken(new);
    hub.apply_connection(caller(), create).await.unwrap();
    (connection, secret.expose_secret().to_owned())
}

/// Makes so many connections with tokens; the id of one.
pub(crate) async fn connections(hub: &Hub, count: usize) -> String {
    let mut id = String::new();
    for number in 0..count {
        id = connect(hub, &format!("Connection {number:03}"), &Value::Null)
            .await
            .0
            .id;
    }
    id
}

/// The other end of a connection.
pub(super) struct End<'a> {
    pub(super) site: &'a Site,
    pub(super) connection: Connection,
    pub(super) token: String,
}

impl<'a> End<'a> {
    /// A connection that changes what is usual.
    pub(super) async fn of(site: &'a Site, name: &str, changes: Value) -> Self {
        let (connection, token) = connect(&site.hub, name, &changes).await;
        Self {
            site,
            connection,
            token,
        }
    }

    /// Asks with more headers.
    pub(super) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, String)],
        body: &Value,
    ) -> Said {
        let mut all = bearer(&self.token);
        all.extend(headers.iter().cloned());
        let body = if body.is_null() {
            String::new()
        } else {
            all.push(("content-type", "application/scim+json".to_owned()));
            body.to_string()
        };
        let path = format!("/scim/v2/{}{path}", self.connection.id);
        send(self.site, method, &path, &all, body).await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, body: Value) -> Said {
        self.ask_with(method, path, &[], &body).await
    }

    pub(super) async fn get(&self, path: &str) -> Said {
        self.ask("GET", path, Value::Null).await
    }

    /// Makes something; its id.
    pub(super) async fn make(&self, path: &str, body: Value) -> String {
        let said = self.ask("POST", path, body).await;
        assert_eq!(said.status, 201, "{}", said.body);
        said.text("id")
    }

    /// Makes a user who is called so; the id.
    pub(super) async fn user(&self, name: &str) -> String {
        self.make("/Users", json!({ "userName": name, "active": true }))
            .await
    }

    /// The ids of a page of a list, and how many there are in all.
    pub(super) async fn found(&self, path: &str) -> (Vec<String>, u64) {
        let said = self.get(path).await;
        assert_eq!(said.status, 200, "{path}: {}", said.body);
        (
            ids(&said.body),
            said.body["totalResults"].as_u64().unwrap_or(u64::MAX),
        )
    }

    /// How many statements a request takes.
    pub(super) async fn statements(&self, method: &str, path: &str, body: Value) -> u64 {
        // The first time notes that the token was used.
        self.get("/ServiceProviderConfig").await;
        let before = self.site.hub.db.stats().statements;
        let said = self.ask(method, path, body).await;
        assert!(said.status < 300, "{}", said.body);
        self.site.hub.db.stats().statements - before
    }

    /// How many steps of SQLite's machine a request takes.
    pub(super) async fn steps(&self, method: &str, path: &str, body: &Value) -> u64 {
        // The first time notes that the token was used.
        self.get("/ServiceProviderConfig").await;
        let before = self.site.hub.db.stats().steps;
        let said = self.ask(method, path, body.clone()).await;
        assert!(said.status < 300, "{method} {path}: {}", said.body);
        self.site.hub.db.stats().steps - before
    }
}

/// The ids of a list.
pub(super) fn ids(list: &Value) -> Vec<String> {
    let resources = list["Resources"].as_array().into_iter().flatten();
    resources
        .map(|resource| resource["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Sends a request to any path of the hub.
pub(super) async fn send(
    site: &Site,
    method: &str,
    path: &str,
    headers: &[(&'static str, String)],
    body: String,
) -> Said {
    let (status, headers, bytes) = site.exchange(method, path, headers, body).await;
    Said {
        status,
        headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    }
}

/// A user of the directory.
pub(super) async fn in_directory(site: &Site, id: &str) -> Option<User> {
    let id = format!("id:{id}");
    let reading = site
        .hub
        .db
        .read(move |tx| rollcall::directory::query::find_user(tx, &id));
    reading.await.unwrap()
}

/// The kinds of the changes of a subject, the oldest first, each with who made it.
pub(super) async fn changes(site: &Site, id: &str) -> Vec<(String, String)> {
    let id = id.to_owned();
    let reading = site.hub.db.read(move |tx| rollcall::change::of_subject(tx, &id));
    let changes = reading.await.unwrap();
    changes
        .iter()
        .map(|change| (change.kind.as_str().to_owned(), change.actor.clone()))
        .collect()
}
