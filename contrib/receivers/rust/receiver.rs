//! The receiver of `contrib/receivers` in Rust: the same settings from the environment and the same reading back
//! as in the other languages, while the kit does the rest.
//!
//!     cargo run --release -p rollcall-receiver --example receiver --features axum,client,mirror
//!
//! With a [`Mirror`], which keeps tables of users, organizational units and groups. An application with handlers of
//! its own takes an `Inbox` in its place, as `axum_app.rs` shows.

use std::env::var;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use rollcall_db::{DbError, Tx, params};
use rollcall_receiver::protocol::EncryptionKey;
use rollcall_receiver::{HttpJwks, KeySource, Mirror, Receiver, router};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (Ok(jwks_url), Ok(application_id)) = (var("ROLLCALL_JWKS_URL"), var("ROLLCALL_APPLICATION_ID"))
    else {
        return Err(
            "set ROLLCALL_JWKS_URL and ROLLCALL_APPLICATION_ID: `rollcall app show NAME` prints both".into(),
        );
    };
    let setting = |name, otherwise: &str| {
        var(name)
            .ok()
            .filter(|value| !value.is_empty())
            .unwrap_or(otherwise.to_owned())
    };

    // ANCHOR: apply
    // Every event is stored with its id and its time in one transaction: never twice, and nothing stale.
    let mirror = Mirror::open(&format!("sqlite:{}", setting("ROLLCALL_DATABASE", "receiver.db"))).await?;
    // ANCHOR_END: apply

    // ANCHOR: verify
    // RS256, the key by its id, issuer, audience and times: what does not hold is refused before it is looked into.
    let keys = KeySource::Endpoint(Arc::new(HttpJwks::new(jwks_url)?));
    let refetch = setting("ROLLCALL_JWKS_REFETCH_SECONDS", "30").parse()?;
    let receiver =
        Receiver::builder(keys, application_id).refetch_keys_after(Duration::from_secs_f64(refetch));
    // ANCHOR_END: verify

    // ANCHOR: decrypt
    // With a key, events that are not encrypted are refused.
    let receiver = match setting("ROLLCALL_ENCRYPTION_KEY", "").as_str() {
        "" => receiver,
        key => receiver.encryption_key(EncryptionKey::from_hex(key)?),
    };
    // ANCHOR_END: decrypt

    // ANCHOR: answer
    // The answer names each event in one of the four lists, as the mirror says what became of it.
    let receiver = Arc::new(receiver.build(mirror.clone())?);
    let app = router(receiver, "/events").route("/users/{id}", get(user).with_state(mirror));
    // ANCHOR_END: answer

    let listen = setting("ROLLCALL_LISTEN", "127.0.0.1:8790");
    let listener = tokio::net::TcpListener::bind(&listen).await?;
    writeln!(std::io::stderr(), "receiving at http://{listen}/events")?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        })
        .await?;
    Ok(())
}

/// One user as it is stored. For tests on the same machine: whoever else asks learns nothing.
async fn user(
    State(mirror): State<Mirror>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    Path(id): Path<String>,
) -> (StatusCode, Json<Value>) {
    let refused = |status, error, description| {
        (
            status,
            Json(json!({"error": error, "errorDescription": description})),
        )
    };
    if !remote.ip().to_canonical().is_loopback() {
        return refused(StatusCode::FORBIDDEN, "forbidden", "only for this machine");
    }
    match mirror.db().read(move |tx| find(tx, &id)).await {
        Ok(Some(user)) => (StatusCode::OK, Json(user)),
        Ok(None) => refused(StatusCode::NOT_FOUND, "not_found", "no such user is stored"),
        Err(_) => refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "the database does not answer",
        ),
    }
}

/// The tables `mirror_*` are there to be read.
fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<Value>, DbError> {
    let Some(row) = tx.query_opt(
        "SELECT account_expire_time, lock_expire_time, username, display_name, email, phone_region, phone_number,
                status, external_id, description
         FROM mirror_users WHERE user_id = $1 AND deleted = $2",
        params![id, false],
    )?
    else {
        return Ok(None);
    };
    let units = tx
        .query(
            "SELECT unit_id, is_primary FROM mirror_memberships WHERE user_id = $1 ORDER BY unit_id",
            params![id],
        )?
        .iter()
        .map(|unit| {
            Ok(json!({"organizationalUnitId": unit.get::<String>(0)?, "primary": unit.get::<bool>(1)?}))
        })
        .collect::<Result<Vec<_>, DbError>>()?;
    let groups = tx
        .query(
            "SELECT group_id FROM mirror_group_members WHERE user_id = $1 AND present = $2 ORDER BY group_id",
            params![id, true],
        )?
        .iter()
        .map(|group| group.get(0))
        .collect::<Result<Vec<String>, DbError>>()?;
    let text = |column| row.get::<Option<String>>(column);
    Ok(Some(json!({
        "userId": id,
        "username": text(2)?,
        "displayName": text(3)?,
        "email": text(4)?,
        "phoneRegion": text(5)?,
        "phoneNumber": text(6)?,
        "status": text(7)?,
        "externalId": text(8)?,
        "description": text(9)?,
        "accountExpireTime": row.get::<Option<i64>>(0)?,
        "lockExpireTime": row.get::<Option<i64>>(1)?,
        "organizationalUnits": units,
        "groups": groups,
    })))
}
