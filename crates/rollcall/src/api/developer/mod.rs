//! The developer API over HTTP: `/v2/{instance}/{application}` (wire contract, section 8).
//!
//! Who calls is an application, known by an access token alone; what a call means is in [`crate::developer`]. Every call
//! is declared once, in [`calls`]; `docs/api-compatibility.md` lists them, and a test holds that list.

mod answer;
mod asked;
mod entry;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use axum::routing::MethodFilter;

use super::{Api, REQUEST_ID};
use crate::developer::token;
use crate::developer::users::{self, Wanted};
use crate::developer::{Desk, Need, Refusal, Showing, groups, passwords, units};
use crate::directory::lists::{Narrowed, UnitsIn, UnitsWanted};
use crate::directory::{Cascade, Source};
use answer::{Answer, Answered, Refused, name_request};
use asked::{Asked, external};

/// A path of an application's calls.
macro_rules! path {
    ($below:literal) => {
        concat!("/v2/{instance_id}/{application_id}", $below)
    };
}

/// Where an application's calls are.
pub(super) const PREFIX: &str = path!("");

/// The calls, and what they are.
struct Calls {
    router: Router<Arc<Api>>,
    declared: Vec<(&'static str, &'static str)>,
}

impl Calls {
    fn on<F: Future<Output = Answered> + Send + 'static>(
        mut self,
        (filter, method): (MethodFilter, &'static str),
        path: &'static str,
        call: impl Fn(Desk, Asked) -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        self.declared.push((method, below(path)));
        Self {
            router: self.router.route(path, entry::call(filter, path, call)),
            ..self
        }
    }

    fn show<T: serde::Serialize + 'static>(
        mut self,
        (filter, method): (MethodFilter, &'static str),
        path: &'static str,
        showing: &'static Showing<T>,
    ) -> Self {
        self.declared.push((method, below(path)));
        Self {
            router: self.router.route(path, entry::show(filter, path, showing)),
            ..self
        }
    }
}

/// A path below [`PREFIX`].
fn below(path: &'static str) -> &'static str {
    path.strip_prefix(PREFIX).unwrap_or(path)
}

const GET: (MethodFilter, &str) = (MethodFilter::GET, "GET");
const POST: (MethodFilter, &str) = (MethodFilter::POST, "POST");
const PATCH: (MethodFilter, &str) = (MethodFilter::PATCH, "PATCH");
const DELETE: (MethodFilter, &str) = (MethodFilter::DELETE, "DELETE");

/// Where an application gets its access tokens, and revokes them: without one.
const TOKEN: &str = path!("/oauth2/token");
const REVOKE: &str = path!("/oauth2/revoke");

fn calls() -> Calls {
    let none = Calls {
        router: Router::new(),
        declared: Vec::new(),
    };
    let scope = none.on(GET, path!("/provisioningScope"), async |desk, _| {
        Answer::of(&scope(&desk).await?)
    });
    group_calls(unit_calls(user_calls(scope)))
}

fn user_calls(calls: Calls) -> Calls {
    calls
        .on(GET, path!("/users"), async |desk, asked| {
            let unit = asked.own("organizationalUnitId");
            Answer::of(
                &users::list(
                    &desk,
                    users::Which {
                        unit,
                        ..users::Which::default()
                    },
                    asked.numbered()?,
                )
                .await?,
            )
        })
        .on(POST, path!("/users"), async |desk, asked| {
            Answer::of(&users::create(&desk, &asked.given()?).await?)
        })
        .show(GET, path!("/users/{id}"), &users::SHOWN)
        .on(PATCH, path!("/users/{id}"), async |desk, asked| {
            let given = asked.given()?;
            users::patch(&desk, asked.id, &given).await?;
            Answer::done()
        })
        .on(DELETE, path!("/users/{id}"), async |desk, asked| {
            users::delete(&desk, asked.id).await?;
            Answer::done()
        })
        .on(POST, path!("/users/{id}/actions/disable"), async |desk, asked| {
            users::set_enabled(&desk, asked.id, false).await?;
            Answer::done()
        })
        .on(POST, path!("/users/{id}/actions/enable"), async |desk, asked| {
            users::set_enabled(&desk, asked.id, true).await?;
            Answer::done()
        })
        .on(
            POST,
            path!("/users/{id}/actions/updateUserPassword"),
            async |desk, asked| {
                let given = asked.given()?;
                passwords::set(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            POST,
            path!("/users/{id}/actions/setUserPrimaryOrganizationalUnit"),
            async |desk, asked| {
                let given = asked.given()?;
                users::set_primary_unit(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            POST,
            path!("/users/{id}/actions/addUserToOrganizationalUnits"),
            async |desk, asked| {
                let given = asked.given()?;
                users::add_units(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            POST,
            path!("/users/{id}/actions/removeUserFromOrganizationalUnits"),
            async |desk, asked| {
                let given = asked.given()?;
                users::remove_units(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            GET,
            path!("/users/{id}/actions/listGroupsForUser"),
            async |desk, asked| {
                let page = asked.portioned()?;
                Answer::of(&users::groups(&desk, asked.id, page).await?)
            },
        )
        .on(
            POST,
            path!("/users/_/actions/getUserIdByUsername"),
            async |desk, asked| {
                let wanted = Wanted::Username(asked.given()?.needed("username")?);
                Answer::of(&users::find(&desk, wanted).await?)
            },
        )
        .on(
            POST,
            path!("/users/_/actions/getUserIdByEmail"),
            async |desk, asked| {
                let wanted = Wanted::Email(asked.given()?.needed("email")?);
                Answer::of(&users::find(&desk, wanted).await?)
            },
        )
        .on(
            POST,
            path!("/users/_/actions/getUserIdByPhoneNumber"),
            async |desk, asked| {
                let wanted = Wanted::PhoneNumber(asked.given()?.needed("phoneNumber")?);
                Answer::of(&users::find(&desk, wanted).await?)
            },
        )
        .on(
            POST,
            path!("/users/_/actions/getUserIdByExternalId"),
            async |desk, asked| {
                let (source, id): (Source, String) = external(&desk, &asked.given()?, "user")?;
                Answer::of(&users::find(&desk, Wanted::ExternalId(source, id)).await?)
            },
        )
}

fn unit_calls(calls: Calls) -> Calls {
    calls
        .on(GET, path!("/organizationalUnits"), async |desk, asked| {
            let wanted = UnitsWanted {
                within: asked.own("parentId").map_or(UnitsIn::Top, UnitsIn::Parent),
                ..UnitsWanted::default()
            };
            Answer::of(&units::list(&desk, wanted, asked.numbered()?).await?)
        })
        .on(POST, path!("/organizationalUnits"), async |desk, asked| {
            Answer::of(&units::create(&desk, &asked.given()?).await?)
        })
        .show(GET, path!("/organizationalUnits/{id}"), &units::SHOWN)
        .on(PATCH, path!("/organizationalUnits/{id}"), async |desk, asked| {
            let given = asked.given()?;
            units::patch(&desk, asked.id, &given).await?;
            Answer::done()
        })
        .on(DELETE, path!("/organizationalUnits/{id}"), async |desk, asked| {
            units::delete(&desk, asked.id, Cascade::No).await?;
            Answer::done()
        })
        .on(
            GET,
            path!("/organizationalUnits/{id}/parentIds"),
            async |desk, asked| Answer::of(&units::parent_ids(&desk, asked.id).await?),
        )
        .on(
            PATCH,
            path!("/organizationalUnits/{id}/parentId"),
            async |desk, asked| {
                let given = asked.given()?;
                units::move_below(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            POST,
            path!("/organizationalUnits/_/actions/getOrganizationalUnitIdByExternalId"),
            async |desk, asked| {
                let (source, id) = external(&desk, &asked.given()?, "organizationalUnit")?;
                Answer::of(&units::find(&desk, source, id).await?)
            },
        )
}

fn group_calls(calls: Calls) -> Calls {
    calls
        .on(GET, path!("/groups"), async |desk, asked| {
            let mut only = Narrowed::default();
            only.name_begins(asked.own("groupNameStartWith"));
            Answer::of(&groups::list(&desk, only, asked.portioned()?).await?)
        })
        .on(POST, path!("/groups"), async |desk, asked| {
            Answer::of(&groups::create(&desk, &asked.given()?).await?)
        })
        .show(GET, path!("/groups/{id}"), &groups::SHOWN)
        .on(PATCH, path!("/groups/{id}"), async |desk, asked| {
            let given = asked.given()?;
            groups::patch(&desk, asked.id, &given).await?;
            Answer::done()
        })
        .on(DELETE, path!("/groups/{id}"), async |desk, asked| {
            groups::delete(&desk, asked.id).await?;
            Answer::done()
        })
        .on(
            GET,
            path!("/groups/{id}/actions/listUsersForGroup"),
            async |desk, asked| {
                let page = asked.portioned()?;
                Answer::of(&groups::members(&desk, asked.id, Narrowed::default(), page).await?)
            },
        )
        .on(
            POST,
            path!("/groups/{id}/actions/addUsersToGroup"),
            async |desk, asked| {
                let given = asked.given()?;
                groups::add_users(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            POST,
            path!("/groups/{id}/actions/removeUsersFromGroup"),
            async |desk, asked| {
                let given = asked.given()?;
                groups::remove_users(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
}

/// The synchronization scope as the application is told of it.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ProvisioningScope {
    organizational_unit_ids: Vec<String>,
    group_ids: Vec<String>,
}

async fn scope(desk: &Desk) -> Result<ProvisioningScope, Refusal> {
    desk.read(Need::Nothing, |_, access| {
        let (units, groups) = (&access.scope.organizational_unit_ids, &access.scope.group_ids);
        Ok(ProvisioningScope {
            organizational_unit_ids: units.iter().cloned().collect(),
            group_ids: groups.iter().cloned().collect(),
        })
    })
    .await
}

/// Method and path below [`PREFIX`] of every call.
pub fn declared() -> Vec<(&'static str, &'static str)> {
    let mut declared = vec![("POST", below(TOKEN)), ("POST", below(REVOKE))];
    declared.extend(calls().declared);
    declared
}

/// The calls, each traced by itself.
pub(super) fn router() -> Router<Arc<Api>> {
    calls()
        .router
        .route(TOKEN, entry::open(MethodFilter::POST, TOKEN, grant))
        .route(REVOKE, entry::open(MethodFilter::POST, REVOKE, revoke))
        .method_not_allowed_fallback(entry::nothing)
}

/// What there is besides below [`PREFIX`]. It is traced by a layer.
pub(super) fn nothing() -> Router<Arc<Api>> {
    Router::new().fallback(async |headers: HeaderMap| {
        let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
        name_request(Refused(Refusal::path()).into_response(), id.unwrap_or_default())
    })
}

/// Gives an access token for a secret.
async fn grant(api: Arc<Api>, request: Request) -> Answered {
    let (application_id, client, secret) = entry::client(&api, request).await?;
    match client.parameter("grant_type") {
        Some("client_credentials") => {
            Answer::of(&token::grant(&api.shared.hub, &application_id, &secret).await?)
        }
        Some(_) => Err(Refusal::grant_type().into()),
        None => Err(Refusal::missing("grant_type").into()),
    }
}

/// Makes an access token good for nothing.
async fn revoke(api: Arc<Api>, request: Request) -> Answered {
    let (application_id, client, secret) = entry::client(&api, request).await?;
    let shown = client
        .parameter("token")
        .ok_or_else(|| Refusal::missing("token"))?;
    token::revoke(&api.shared.hub, &application_id, &secret, shown).await?;
    Answer::of(&serde_json::json!({}))
}
