//! Every role at every route: the table in `docs/access.md` is held against the router.

use std::collections::BTreeMap;
use std::path::Path;

use rollcall::access::Role;
use serde_json::{Value, json};

use super::owner::Divided;
use super::{Person, Said, Site, bearer, on_each};

const ROLES: [&str; 4] = ["administrator", "operator", "auditor", "owner"];

/// Who may, by method and path: the permission, then a word for each role.
type Table = BTreeMap<(String, String), [String; 5]>;

fn written() -> Table {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/access.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, table) = text.split_once("<!-- routes -->").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, route, permission, administrator, operator, auditor, owner, _] = cells[..] else {
            panic!("{row}");
        };
        let (method, path) = route.split_once(' ').unwrap();
        let words = [permission, administrator, operator, auditor, owner].map(str::to_owned);
        ((method.to_owned(), path.to_owned()), words)
    })
    .collect()
}

fn told(table: &Table) -> String {
    let rows = table.iter().map(|((method, path), words)| {
        format!(
            "| `{method} {path}` | `{}` | {} |\n",
            words[0],
            words[1..].join(" | ")
        )
    });
    rows.collect()
}

/// Somebody who asks as often as it takes; whoever has been signed out signs in again.
struct Asker<'a> {
    site: &'a Site,
    name: &'static str,
    person: Person,
}

/// A body that can be read at a path.
fn body(path: &str) -> Value {
    match path.ends_with("/comparison/repair") {
        true => json!({ "comparison": "cmp_0", "all": true }),
        false => json!({}),
    }
}

impl Asker<'_> {
    async fn ask(&mut self, method: &str, path: &str) -> Said {
        let said = self
            .site
            .ask(method, path, &self.person.headers(), &body(path))
            .await;
        if method == "DELETE" && path == "/session" {
            self.person = self.site.sign_in(self.name).await;
        }
        said
    }
}

fn is_forbidden(said: &Said) -> bool {
    assert_ne!(said.status, 405, "{}", said.body);
    assert_ne!(said.code(), "cross_site_request");
    assert!(said.status < 500 || said.status == 503, "{}", said.body);
    said.status == 403
}

fn put(path: &str, id: &str, user: &str) -> String {
    let path = path.replace("{id}", id).replace("{user}", user);
    let numbered = path.replace("{number}", "1").replace("{seq}", "1");
    numbered
        .replace("{job}", "nothing")
        .replace("{session}", "nothing")
        .replace("{secret}", "nothing")
        .replace("{token}", "nothing")
}

/// Whether a path names something of an application that the foreign one does not have.
fn is_deep(path: &str) -> bool {
    path.contains("{number}") || path.contains("{job}") || path.contains("/comparison")
}

#[test]
fn the_table_of_routes_and_roles_is_what_the_hub_does() {
    on_each("every_route", |site| async move {
        let expected = written();
        let divided = Divided::of(&site).await;
        site.account("administrator", Role::Administrator).await;
        site.account("operator", Role::Operator).await;
        site.account("auditor", Role::Auditor).await;
        let mut askers = Vec::new();
        let mut tokens = Vec::new();
        for name in ROLES {
            askers.push(Asker {
                site: &site,
                name,
                person: site.sign_in(name).await,
            });
            let role = match name {
                "owner" => json!({ "name": name, "role": "application_owner", "applications": ["own"] }),
                name => json!({ "name": name, "role": name }),
            };
            tokens.push(site.machine("POST", "/tokens", role).await.text("secret"));
        }
        let index = site.ask("GET", "", &[], &Value::Null).await.body;
        let document = site.ask("GET", "/openapi.json", &[], &Value::Null).await.body;
        let mut found = Table::new();
        for route in index["routes"].as_array().unwrap() {
            let text = |name: &str| route[name].as_str().unwrap().to_owned();
            let (method, full, permission) = (text("method"), text("path"), text("permission"));
            let path = full.strip_prefix("/api/v1").unwrap();
            let nobody = put(path, "nobody", "nobody");
            let is_public = permission == "anybody";
            let responses = &document["paths"][&full][method.to_lowercase()]["responses"];
            let is_described = |said: &Said| {
                let status = said.status.to_string();
                assert!(
                    responses[&status].is_object(),
                    "{method} {path}: {status}: {}",
                    said.body
                );
            };
            let stranger = site.ask(&method, &nobody, &[], &json!({})).await;
            is_described(&stranger);
            let stranger_is_in = stranger.status != 401;
            assert_eq!(stranger_is_in, is_public, "{method} {path}: {}", stranger.body);
            let mut words = [permission.as_str(), "", "", "", ""].map(str::to_owned);
            for (place, role) in ROLES.iter().enumerate() {
                let said = askers[place].ask(&method, &nobody).await;
                let by_token = site
                    .ask(&method, &nobody, &bearer(&tokens[place]), &json!({}))
                    .await;
                let may = !is_forbidden(&said);
                is_described(&said);
                is_described(&by_token);
                // A token has no account of its own, and may do the same otherwise.
                let is_own = permission == "own_account" || permission == "own_sign_in";
                assert_eq!(
                    !is_forbidden(&by_token),
                    may && !is_own,
                    "{role} {method} {path}: {}",
                    by_token.body
                );
                words[place + 1] = if may { "yes" } else { "no" }.to_owned();
            }
            let is_bounded = [
                "read_directory",
                "read_applications",
                "read_deliveries",
                "operate_applications",
            ]
            .contains(&permission.as_str());
            if words[4] == "yes" && is_bounded {
                words[4] = "own".to_owned();
                within(&site, &divided, &mut askers[3], &method, path).await;
            }
            found.insert((method, full), words);
        }
        assert!(
            found == expected,
            "docs/access.md has another table than the hub; this is the hub's:\n{}",
            told(&found)
        );
    });
}

/// Holds an owner to what is his at a route that he may use.
async fn within(site: &Site, divided: &Divided, owner: &mut Asker<'_>, method: &str, path: &str) {
    let foreign: Vec<(&str, &str)> = match path.split('/').nth(1).unwrap() {
        "applications" if path.contains("{user}") => vec![("own", "foreign-user"), ("foreign app", "both")],
        "applications" => vec![("foreign app", "")],
        "users" => vec![("foreign-user", ""), (&divided.foreign_user, "")],
        "groups" => vec![("foreign group", ""), (&divided.foreign_group, "")],
        "organizational-units" => {
            vec![
                ("foreign above%2Fforeign unit", ""),
                (&divided.foreign_unit, ""),
                ("ou_root", ""),
            ]
        }
        other => panic!("what is foreign at {other}?"),
    };
    if !path.contains("{id}") {
        let said = owner.ask(method, path).await;
        assert_eq!(said.status, 200, "{method} {path}: {}", said.body);
        let text = said.body.to_string().to_lowercase();
        assert!(!text.contains("foreign"), "{method} {path}: {text}");
        return;
    }
    for (id, user) in foreign {
        let asked = put(path, &id.replace(' ', "%20"), user);
        let there = site.machine(method, &asked, body(&asked)).await;
        if !is_deep(path) {
            assert_ne!(there.status, 404, "{method} {asked} is there: {}", there.body);
        }
        let said = owner.ask(method, &asked).await;
        assert_eq!(
            said.refused(),
            (404, "not_found"),
            "{method} {asked}: {}",
            said.body
        );
        if path.starts_with("/applications") && user.is_empty() {
            let detail = said.text("detail");
            assert!(detail.starts_with("there is no application"), "{detail}");
        }
    }
}
