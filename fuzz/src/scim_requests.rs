//! Requests of a connection: the router itself, in this process, on a database in memory.

use std::cell::RefCell;

use arbitrary::Unstructured;
use axum::body::Body;
use axum::http::Request;
use rollcall::access::Caller;
use rollcall::connection::tokens::{NewConnectionToken, Term};
use rollcall::connection::{Command, NewConnection};
use rollcall::secret::ExposeSecret as _;
use serde_json::{Value, json};

use crate::api::{World, ask, requests};

/// A connection of a hub.
struct End {
    world: World,
    id: String,
    token: String,
    /// Method and path of every route.
    routes: Vec<(&'static str, String)>,
    /// The ids of what was made, the newest last.
    made: Vec<String>,
}

impl Default for End {
    fn default() -> Self {
        let world = World::default();
        let hub = world.hub.clone();
        let (id, token) = world.runtime.block_on(async {
            let new =
                json!({ "name": "Fuzz", "organizationalUnitId": "ou_root", "requestsPerSecond": 10_000 });
            let new: NewConnection = serde_json::from_value(new).unwrap();
            let caller = || Caller::system("fuzz");
            let made = hub
                .apply_connection(caller(), Command::Create(new))
                .await
                .unwrap();
            let id = made.connection().unwrap().id;
            let (new, secret) =
                NewConnectionToken::generate(id.clone(), Term::Never, hub.clock.now(), &*hub.random).unwrap();
            let create = Command::CreateToken(new);
            hub.apply_connection(caller(), create).await.unwrap();
            (id, secret.expose_secret().to_owned())
        });
        Self {
            world,
            id,
            token,
            routes: rollcall::api::scim_routes(),
            made: Vec::new(),
        }
    }
}

/// What may stand in a path besides the ids of what was made.
const NAMES: &[&str] = &["nothing", "User", "Group", "%00", "%ff", "%20", "urn%3Aietf"];

/// Requests to every route of a connection, with any query and body, on a directory that earlier requests made. None is
/// answered with a failure of ours, and whoever is refused is told why in SCIM's form.
pub fn scim_requests(data: &[u8]) {
    thread_local! {
        static END: RefCell<Option<End>> = const { RefCell::new(None) };
    }
    END.with_borrow_mut(|kept| {
        let mut end = kept.take().unwrap_or_default();
        let _ = end.requests(data);
        if end.made.len() < 2_000 {
            *kept = Some(end);
        }
    });
}

impl End {
    /// Each request of an input is a line: the number of the route and of the name in its path, the query, and the body,
    /// with zero bytes in between. `#1` in a body is the id of what was made last, `#2` that of what was made before.
    fn requests(&mut self, data: &[u8]) -> arbitrary::Result<()> {
        for [target, query, body] in requests(data) {
            self.request(&mut Unstructured::new(target), query, body)?;
        }
        Ok(())
    }

    fn made(&self, back: usize) -> &str {
        let place = self.made.len().checked_sub(back);
        place.map_or("nothing", |place| {
            self.made.get(place).map_or("nothing", String::as_str)
        })
    }

    fn request(&mut self, target: &mut Unstructured<'_>, query: &[u8], body: &[u8]) -> arbitrary::Result<()> {
        // Hashing a password takes longer than ten thousand other requests.
        if body
            .windows(8)
            .any(|window| window.eq_ignore_ascii_case(b"password"))
        {
            return Ok(());
        }
        let number = usize::from(target.arbitrary::<u8>()?) % self.routes.len();
        let (method, path) = self.routes[number].clone();
        let name = usize::from(target.arbitrary::<u8>().unwrap_or(1)) % (NAMES.len() + 4);
        let name = match NAMES.get(name.wrapping_sub(4)) {
            Some(name) => (*name).to_owned(),
            None => self.made(name + 1).to_owned(),
        };
        let mut uri = path.replace("{connection}", &self.id).replace("{id}", &name);
        ask(&mut uri, query);
        let mut text = String::from_utf8_lossy(body).into_owned();
        for back in 1..=4 {
            text = text.replace(&format!("#{back}"), self.made(back));
        }
        let request = Request::builder()
            .method(method)
            .uri(&uri)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/scim+json")
            .body(Body::from(text));
        // What is no address does not get this far.
        let Ok(request) = request else { return Ok(()) };
        let (status, answer) = self.world.send(request);
        let status = status.as_u16();
        let shown = || format!("{method} {uri}: {status}: {}", String::from_utf8_lossy(&answer));
        assert!(status < 500 || status == 501, "{}", shown());
        let answer_json: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if status >= 400 {
            assert_eq!(answer_json["status"], status.to_string(), "{}", shown());
            let detail = answer_json["detail"].as_str();
            assert!(detail.is_some_and(|text| !text.is_empty()), "{}", shown());
        } else if status == 201 {
            let id = answer_json["id"].as_str();
            self.made
                .push(id.unwrap_or_else(|| panic!("{}", shown())).to_owned());
        }
        Ok(())
    }
}

/// How many resources the requests of an input make.
#[cfg(test)]
pub(crate) fn made_by(input: &[u8]) -> usize {
    let mut end = End::default();
    let _ = end.requests(input);
    end.made.len()
}
