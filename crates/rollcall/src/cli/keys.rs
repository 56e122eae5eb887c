//! `rollcall app key`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use super::args::Key;
use super::backend::{Backend, KeyStep};
use super::failure::Refusal;
use super::output::{Output, time};
use crate::api::SigningKeys;
use crate::application::keys::KeyInfo;
use crate::application::keys::rotation::Rotation;
use crate::application::{Application, Rotated};

pub(super) async fn run(backend: &Backend, out: &Output, verb: Key) -> Result<ExitCode> {
    match verb {
        Key::Show { app } => show(backend, out, &app).await,
        Key::Rotate {
            app,
            after_hours,
            now: false,
            ..
        } => rotate(backend, out, &app, after_hours).await,
        Key::Rotate {
            app,
            now: true,
            confirm,
            ..
        } => replace(backend, out, &app, confirm).await,
        Key::Try { app } => {
            let (_, rotated) = step(backend, &app, KeyStep::Try).await?;
            out.show(&json!({ "kid": rotated.kid }), || {
                format!(
                    "{} is tried by the hub that runs; rollcall app key show tells what came of it",
                    rotated.kid
                )
            });
            Ok(ExitCode::SUCCESS)
        }
        Key::Cancel { app } => {
            let (_, rotated) = step(backend, &app, KeyStep::Withdraw).await?;
            out.show(&json!({ "withdrawn": rotated.kid }), || {
                format!("{} is withdrawn; the key that signs goes on signing", rotated.kid)
            });
            Ok(ExitCode::SUCCESS)
        }
        Key::Revert { app } => {
            let (application, rotated) = step(backend, &app, KeyStep::Revert).await?;
            out.show(&json!({ "kid": rotated.kid }), || {
                let name = &application.name;
                format!(
                    "{} signs again; the newer key retires. rollcall app test {name:?} tells whether the endpoint takes it, and rollcall app resume {name:?} goes on at once if {name} was suspended",
                    rotated.kid
                )
            });
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Takes a step of an application's rotation.
async fn step(backend: &Backend, app: &str, step: KeyStep) -> Result<(Application, Rotated)> {
    let application = backend.application(app).await?;
    let rotated = backend.rotate(&application.id, step).await?;
    Ok((application, rotated))
}

async fn show(backend: &Backend, out: &Output, app: &str) -> Result<ExitCode> {
    let SigningKeys { keys, rotation } = backend.signing_keys(app).await?;
    out.show(&json!({ "keys": keys, "rotation": rotation }), || {
        format!("{}{}", lines_of(&keys), line_of(&rotation).unwrap_or_default())
    });
    Ok(ExitCode::SUCCESS)
}

/// A line for each key.
pub(super) fn lines_of(keys: &[KeyInfo]) -> String {
    let line = |key: &KeyInfo| {
        let state = match (key.signs_from, key.retires_at) {
            (_, Some(retires_at)) => format!("signed before; retires {}", time(retires_at)),
            (Some(since), None) => format!("signs since {}", time(since)),
            (None, None) => format!("published {}; does not sign yet", time(key.created_at)),
        };
        format!("signing key   {}  {state}\n", key.kid)
    };
    keys.iter().map(line).collect()
}

/// What a rotation waits for; `None` if none is under way.
pub(super) fn line_of(rotation: &Rotation) -> Option<String> {
    let state = match rotation {
        Rotation::Steady => return None,
        Rotation::Published { kid, trial_at } => format!(
            "{kid} is tried {}; if the endpoint accepts it, it signs from then on",
            time(*trial_at)
        ),
        Rotation::Trial {
            kid, reason: None, ..
        } => format!("{kid} is to be tried now; the hub that delivers to the application does it"),
        Rotation::Trial { trial_at, .. } | Rotation::Refused { trial_at, .. } => format!(
            "{}. Next trial {}",
            rotation.warning().unwrap_or_default(),
            time(*trial_at)
        ),
        Rotation::Retiring { kid, retires_at } => {
            format!(
                "done; {kid} stays published until {}, and rollcall app key revert goes back to it until then",
                time(*retires_at)
            )
        }
    };
    Some(format!("key rotation  {state}\n"))
}

async fn rotate(backend: &Backend, out: &Output, app: &str, delay: Duration) -> Result<ExitCode> {
    let (application, rotated) = step(backend, app, KeyStep::Publish(delay)).await?;
    out.show(
        &json!({ "kid": rotated.kid, "trialAt": rotated.trial_at }),
        || {
            format!(
                "{} is published now. It is tried {}, and signs as soon as {} accepts it; until then the old key signs",
                rotated.kid,
                time(rotated.trial_at.unwrap_or_default()),
                application.name
            )
        },
    );
    Ok(ExitCode::SUCCESS)
}

/// The emergency: the keys of now may be known to somebody else.
async fn replace(backend: &Backend, out: &Output, app: &str, confirm: bool) -> Result<ExitCode> {
    let application = backend.application(app).await?;
    if !confirm {
        let what = format!(
            "this withdraws the signing key of {name} at once, because somebody else may have it, and signs with a new \
             one that nobody has tried. {name} refuses everything until it fetches the public keys again: if it keeps \
             them, restart it right afterwards; if it has them in its configuration, change them there. Nothing is lost: \
             changes wait and are sent then. Without --now the new key is tried first, and nothing breaks",
            name = application.name
        );
        bail!(Refusal::unconfirmed(what));
    }
    let now = backend.now();
    let (application, rotated) = step(backend, app, KeyStep::Replace).await?;
    out.show(&json!({ "kid": rotated.kid, "signsFrom": now }), || {
        format!(
            "{} signs from now on; every key before it is withdrawn. Have {name} fetch the public keys again, then \
             run: rollcall app test {name:?} and rollcall app resume {name:?}",
            rotated.kid,
            name = application.name
        )
    });
    Ok(ExitCode::SUCCESS)
}
