//! The developer API over HTTP: `/v2/{instance}/{application}` (wire contract, section 8).
//!
//! Who calls is an application, known by an access token alone; what a call means is in [`crate::developer`]. Every call
//! is declared once, in [`calls`]; `docs/api-compatibility.md` lists them, and a test holds that list.

mod answer;
mod asked;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use axum::{Extension, RequestExt as _};
use rollcall_server::Client;

use super::{Api, REQUEST_ID, browser};
use crate::access::RateLimit;
use crate::developer::token::{self, Claims};
use crate::developer::users::{self, Wanted};
use crate::developer::{Desk, Need, Refusal, groups, passwords, units};
use crate::directory::Source;
use answer::{Answer, Answered, Refused, name_request};
use asked::{Asked, Credentials, external, segment};

/// Where an application's calls are.
pub(super) const PREFIX: &str = "/v2/{instance_id}/{application_id}";

/// How often somebody may show a secret of an application, to get an access token or to revoke one.
const TOKENS: RateLimit = RateLimit {
    per_second: 20,
    burst: 100,
};

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
        self.declared.push((method, path));
        let handler = async move |Extension(desk): Extension<Desk>, asked: Asked| call(desk, asked).await;
        Self {
            router: self.router.route(path, on(filter, handler)),
            ..self
        }
    }
}

const GET: (MethodFilter, &str) = (MethodFilter::GET, "GET");
const POST: (MethodFilter, &str) = (MethodFilter::POST, "POST");
const PATCH: (MethodFilter, &str) = (MethodFilter::PATCH, "PATCH");
const DELETE: (MethodFilter, &str) = (MethodFilter::DELETE, "DELETE");

/// Where an application gets its access tokens, and revokes them: without one.
const TOKEN: &str = "/oauth2/token";
const REVOKE: &str = "/oauth2/revoke";

fn calls() -> Calls {
    let none = Calls {
        router: Router::new(),
        declared: Vec::new(),
    };
    let scope = none.on(GET, "/provisioningScope", async |desk, _| {
        Answer::of(&scope(&desk).await?)
    });
    group_calls(unit_calls(user_calls(scope)))
}

fn user_calls(calls: Calls) -> Calls {
    calls
        .on(GET, "/users", async |desk, asked| {
            let unit = asked.own("organizationalUnitId");
            Answer::of(&users::list(&desk, unit, asked.numbered()?).await?)
        })
        .on(POST, "/users", async |desk, asked| {
            Answer::of(&users::create(&desk, &asked.given()?).await?)
        })
        .on(GET, "/users/{id}", async |desk, asked| {
            Answer::of(&users::get(&desk, asked.id).await?)
        })
        .on(PATCH, "/users/{id}", async |desk, asked| {
            let given = asked.given()?;
            users::patch(&desk, asked.id, &given).await?;
            Answer::done()
        })
        .on(DELETE, "/users/{id}", async |desk, asked| {
            users::delete(&desk, asked.id).await?;
            Answer::done()
        })
        .on(POST, "/users/{id}/actions/disable", async |desk, asked| {
            users::set_enabled(&desk, asked.id, false).await?;
            Answer::done()
        })
        .on(POST, "/users/{id}/actions/enable", async |desk, asked| {
            users::set_enabled(&desk, asked.id, true).await?;
            Answer::done()
        })
        .on(
            POST,
            "/users/{id}/actions/updateUserPassword",
            async |desk, asked| {
                let given = asked.given()?;
                passwords::set(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            POST,
            "/users/{id}/actions/setUserPrimaryOrganizationalUnit",
            async |desk, asked| {
                let given = asked.given()?;
                users::set_primary_unit(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            POST,
            "/users/{id}/actions/addUserToOrganizationalUnits",
            async |desk, asked| {
                let given = asked.given()?;
                users::add_units(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            POST,
            "/users/{id}/actions/removeUserFromOrganizationalUnits",
            async |desk, asked| {
                let given = asked.given()?;
                users::remove_units(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            GET,
            "/users/{id}/actions/listGroupsForUser",
            async |desk, asked| {
                let page = asked.portioned()?;
                Answer::of(&users::groups(&desk, asked.id, page).await?)
            },
        )
        .on(
            POST,
            "/users/_/actions/getUserIdByUsername",
            async |desk, asked| {
                let wanted = Wanted::Username(asked.given()?.needed("username")?);
                Answer::of(&users::find(&desk, wanted).await?)
            },
        )
        .on(POST, "/users/_/actions/getUserIdByEmail", async |desk, asked| {
            let wanted = Wanted::Email(asked.given()?.needed("email")?);
            Answer::of(&users::find(&desk, wanted).await?)
        })
        .on(
            POST,
            "/users/_/actions/getUserIdByPhoneNumber",
            async |desk, asked| {
                let wanted = Wanted::PhoneNumber(asked.given()?.needed("phoneNumber")?);
                Answer::of(&users::find(&desk, wanted).await?)
            },
        )
        .on(
            POST,
            "/users/_/actions/getUserIdByExternalId",
            async |desk, asked| {
                let (source, id): (Source, String) = external(&desk, &asked.given()?, "user")?;
                Answer::of(&users::find(&desk, Wanted::ExternalId(source, id)).await?)
            },
        )
}

fn unit_calls(calls: Calls) -> Calls {
    calls
        .on(GET, "/organizationalUnits", async |desk, asked| {
            let parent = asked.own("parentId");
            Answer::of(&units::list(&desk, parent, asked.numbered()?).await?)
        })
        .on(POST, "/organizationalUnits", async |desk, asked| {
            Answer::of(&units::create(&desk, &asked.given()?).await?)
        })
        .on(GET, "/organizationalUnits/{id}", async |desk, asked| {
            Answer::of(&units::get(&desk, asked.id).await?)
        })
        .on(PATCH, "/organizationalUnits/{id}", async |desk, asked| {
            let given = asked.given()?;
            units::patch(&desk, asked.id, &given).await?;
            Answer::done()
        })
        .on(DELETE, "/organizationalUnits/{id}", async |desk, asked| {
            units::delete(&desk, asked.id).await?;
            Answer::done()
        })
        .on(GET, "/organizationalUnits/{id}/parentIds", async |desk, asked| {
            Answer::of(&units::parent_ids(&desk, asked.id).await?)
        })
        .on(
            PATCH,
            "/organizationalUnits/{id}/parentId",
            async |desk, asked| {
                let given = asked.given()?;
                units::move_below(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            POST,
            "/organizationalUnits/_/actions/getOrganizationalUnitIdByExternalId",
            async |desk, asked| {
                let (source, id) = external(&desk, &asked.given()?, "organizationalUnit")?;
                Answer::of(&units::find(&desk, source, id).await?)
            },
        )
}

fn group_calls(calls: Calls) -> Calls {
    calls
        .on(GET, "/groups", async |desk, asked| {
            let beginning = asked.own("groupNameStartWith");
            Answer::of(&groups::list(&desk, beginning, asked.portioned()?).await?)
        })
        .on(POST, "/groups", async |desk, asked| {
            Answer::of(&groups::create(&desk, &asked.given()?).await?)
        })
        .on(GET, "/groups/{id}", async |desk, asked| {
            Answer::of(&groups::get(&desk, asked.id).await?)
        })
        .on(PATCH, "/groups/{id}", async |desk, asked| {
            let given = asked.given()?;
            groups::patch(&desk, asked.id, &given).await?;
            Answer::done()
        })
        .on(DELETE, "/groups/{id}", async |desk, asked| {
            groups::delete(&desk, asked.id).await?;
            Answer::done()
        })
        .on(
            GET,
            "/groups/{id}/actions/listUsersForGroup",
            async |desk, asked| {
                let page = asked.portioned()?;
                Answer::of(&groups::members(&desk, asked.id, page).await?)
            },
        )
        .on(
            POST,
            "/groups/{id}/actions/addUsersToGroup",
            async |desk, asked| {
                let given = asked.given()?;
                groups::add_users(&desk, asked.id, &given).await?;
                Answer::done()
            },
        )
        .on(
            POST,
            "/groups/{id}/actions/removeUsersFromGroup",
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
    let mut declared = vec![("POST", TOKEN), ("POST", REVOKE)];
    declared.extend(calls().declared);
    declared
}

/// The router below [`PREFIX`].
pub(super) fn router(api: Arc<Api>) -> Router<Arc<Api>> {
    calls()
        .router
        .route_layer(middleware::from_fn_with_state(Arc::clone(&api), authorize))
        .route(TOKEN, on(MethodFilter::POST, grant))
        .route(REVOKE, on(MethodFilter::POST, revoke))
        .fallback(async || Refused(Refusal::path()))
        .method_not_allowed_fallback(async || Refused(Refusal::path()))
        .layer(middleware::from_fn(name))
}

/// Says of which request a refusal tells.
async fn name(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_default().to_owned();
    name_request(next.run(request).await, &id)
}

/// Instance and application that the path names.
type Named = Result<RawPathParams, RawPathParamsRejection>;

/// The application that the path names, if it names this instance.
fn application(api: &Api, path: Named) -> Result<String, Refusal> {
    let path = path.map_err(|_| Refusal::path())?;
    match segment(&path, "instance_id") == api.shared.hub.instance.id {
        true => Ok(segment(&path, "application_id")),
        false => Err(Refusal::instance()),
    }
}

/// Lets a call through that shows an access token of the application, if it does not come too often.
async fn authorize(
    State(api): State<Arc<Api>>,
    path: Named,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let application_id = application(&api, path)?;
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|shown| shown.to_str().ok())
        .and_then(|shown| shown.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let hub = &api.shared.hub;
    let claims = Claims::read(hub, shown.unwrap_or_default())?;
    if claims.application_id != application_id {
        return Err(Refusal::no_token().into());
    }
    let who = format!("application:{application_id}");
    let limit = RateLimit {
        per_second: claims.requests_per_second,
        burst: claims.requests_per_second.saturating_mul(2),
    };
    let left = api.limiter.take_within(limit, &who, tokio::time::Instant::now());
    let mut response = if left.is_granted {
        let (mut parts, body) = request.into_parts();
        let desk = Desk::new(hub.clone(), claims, browser::origin(&parts));
        parts.extensions.insert(desk);
        next.run(Request::from_parts(parts, body)).await
    } else {
        Refused(Refusal::throttled(left.retry_after())).into_response()
    };
    left.tell(response.headers_mut());
    Ok(response)
}

/// Who shows a secret, and what it says besides.
async fn client(
    api: &Arc<Api>,
    path: Named,
    request: Request,
) -> Result<(String, Credentials, crate::secret::SecretString), Refused> {
    let application_id = application(api, path)?;
    let headers: HeaderMap = request.headers().clone();
    let from = Client::of(request.extensions()).map(|client| client.address.to_string());
    let asked: Asked = request.extract_with_state(api).await?;
    let client = Credentials::read(&asked, &headers)?;
    let secret = client.secret(&application_id)?;
    // Whoever guesses is slowed down, and nobody else because of that.
    let who = format!("secrets of {application_id} from {}", from.unwrap_or_default());
    let left = api.limiter.take_within(TOKENS, &who, tokio::time::Instant::now());
    match left.is_granted {
        true => Ok((application_id, client, secret)),
        false => Err(Refusal::throttled(left.retry_after()).into()),
    }
}

/// Gives an access token for a secret.
async fn grant(State(api): State<Arc<Api>>, path: Named, request: Request) -> Answered {
    let (application_id, client, secret) = client(&api, path, request).await?;
    match client.parameter("grant_type") {
        Some("client_credentials") => {
            Answer::of(&token::grant(&api.shared.hub, &application_id, &secret).await?)
        }
        Some(_) => Err(Refusal::grant_type().into()),
        None => Err(Refusal::missing("grant_type").into()),
    }
}

/// Makes an access token good for nothing.
async fn revoke(State(api): State<Arc<Api>>, path: Named, request: Request) -> Answered {
    let (application_id, client, secret) = client(&api, path, request).await?;
    let shown = client
        .parameter("token")
        .ok_or_else(|| Refusal::missing("token"))?;
    token::revoke(&api.shared.hub, &application_id, &secret, shown).await?;
    Answer::of(&serde_json::json!({}))
}
