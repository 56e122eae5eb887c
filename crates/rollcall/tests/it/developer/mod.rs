//! What an application does by itself, through the developer API.

mod client;
mod echo;
mod history;
mod kept;
pub(crate) mod management;
mod pages;
mod scopes;
mod story;
mod tokens;

use rollcall::access::Caller;
use rollcall::application::developer::secrets::NewClientSecret;
use rollcall::application::{Application, Command, DeveloperApi, DeveloperApiPatch, Grant, Scope};
use rollcall::hub::Hub;
use rollcall::secret::ExposeSecret as _;
use serde_json::{Value, json};

use crate::access::{Said, Site};
use crate::world::add_application;

/// Everything that can be granted.
pub(crate) const ALL: DeveloperApi = DeveloperApi {
    enabled: true,
    users: Grant::Write,
    organizational_units: Grant::Write,
    groups: Grant::Write,
    passwords: true,
    echo: true,
    requests_per_second: 10_000,
};

/// An application that calls the developer API.
pub(crate) struct Developer<'a> {
    pub(crate) site: &'a Site,
    pub(crate) application: Application,
    pub(crate) secret: String,
    pub(crate) token: String,
}

/// Grants an application just this.
pub(crate) async fn grant(hub: &Hub, id: &str, api: DeveloperApi) {
    let changes = DeveloperApiPatch {
        enabled: Some(api.enabled),
        users: Some(api.users),
        organizational_units: Some(api.organizational_units),
        groups: Some(api.groups),
        passwords: Some(api.passwords),
        echo: Some(api.echo),
        requests_per_second: Some(api.requests_per_second),
    };
    let id = id.to_owned();
    let command = Command::SetDeveloperApi { id, changes };
    hub.apply_application(Caller::system("test"), command)
        .await
        .unwrap();
}

/// Makes a client secret that is good until a time; its id and text.
pub(crate) async fn make_secret(hub: &Hub, id: &str, expires_at: Option<i64>) -> (String, String) {
    let (new, text) = NewClientSecret::generate(id.to_owned(), expires_at, &*hub.random);
    let create = Command::CreateClientSecret(new);
    let applied = hub
        .apply_application(Caller::system("test"), create)
        .await
        .unwrap();
    let id = applied.client_secret.unwrap().id;
    (id, text.expose_secret().to_owned())
}

impl<'a> Developer<'a> {
    /// An application with a scope, to which everything is granted, and which has a token.
    pub(crate) async fn of(site: &'a Site, name: &str, scope: Scope) -> Self {
        let application = add_application(&site.hub, name, "http://127.0.0.1:9/events", None, scope).await;
        Self::at(site, application, ALL).await
    }

    /// This application, to which so much is granted, and which has a token.
    pub(crate) async fn at(site: &'a Site, application: Application, api: DeveloperApi) -> Self {
        grant(&site.hub, &application.id, api).await;
        let (_, secret) = make_secret(&site.hub, &application.id, None).await;
        let mut developer = Self {
            site,
            application,
            secret,
            token: String::new(),
        };
        let granted = developer.grant(&developer.secret.clone()).await;
        developer.token = granted.text("access_token");
        developer
    }

    pub(crate) fn path(&self, path: &str) -> String {
        format!("/v2/{}/{}{path}", self.site.hub.instance.id, self.application.id)
    }

    /// Asks for an access token.
    pub(crate) async fn grant(&self, secret: &str) -> Said {
        let path = self.path(&format!(
            "/oauth2/token?grant_type=client_credentials&client_id={}&client_secret={secret}",
            self.application.id
        ));
        self.send("POST", &path, &[], String::new()).await
    }

    /// Sends anything.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Said {
        let (status, headers, bytes) = self.site.exchange(method, path, headers, body).await;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()));
        Said {
            status,
            headers,
            body,
        }
    }

    /// Makes a call.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Said {
        let headers = [
            ("authorization", format!("Bearer {}", self.token)),
            ("content-type", "application/json".to_owned()),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(method, &self.path(path), &headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Said {
        self.call("GET", path, Value::Null).await
    }

    /// Makes a call that is answered, and returns a field of the answer.
    pub(crate) async fn make(&self, path: &str, body: Value, field: &str) -> String {
        let said = self.call("POST", path, body).await;
        assert_eq!(said.status, 200, "{path}: {}", said.body);
        said.text(field)
    }

    /// Makes a call that must be refused with this code.
    pub(crate) async fn refused(&self, method: &str, path: &str, body: Value, code: &str) {
        let said = self.call(method, path, body).await;
        assert_eq!(said.body["code"], json!(code), "{method} {path}: {}", said.body);
        let known = rollcall::developer::CODES.iter();
        let mut known = known.filter(|(_, it, _)| match it.strip_suffix('*') {
            Some(beginning) => code.starts_with(beginning),
            None => code == *it,
        });
        let (status, _, _) = known.next().expect("a code that is documented");
        assert_eq!(said.status, *status, "{method} {path}: {}", said.body);
        assert!(
            said.body["requestId"]
                .as_str()
                .is_some_and(|id| id.starts_with("req_"))
        );
    }
}
