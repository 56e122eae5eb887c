//! *Keys*: which key signs, which one is to follow, and which one goes; and the steps of a rotation.

use std::time::Duration;

use askama::Template;
use axum::extract::Path;
use rollcall_db::{DbError, Tx};

use super::meanwhile::{Meanwhile, meanwhile};
use super::provisioning::jwks;
use super::settings::signing_key;
use super::{Head, Tab};
use crate::access::Permission;
use crate::application::keys::rotation::{Rotation, RotationError};
use crate::application::keys::{self, KeyInfo};
use crate::application::{Application, ApplicationError, Command, RotationStep};
use crate::clock::Millis;
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::ledger::attempts::{self, Filter, Outcome, Search};
use crate::delivery::model::Source;
use crate::delivery::status;
use crate::instance;

/// After how many hours a new key is tried, if nobody says: longer than applications keep the public keys.
const HOURS: &str = "24";
/// After how many hours at most.
const MOST_HOURS: f64 = 720.0;
/// How many requests are looked at to find the last one that was accepted.
const LOOKED_AT: i64 = 2_000;

/// A key as it is shown.
struct ShownKey {
    tone: &'static str,
    key: &'static str,
    info: KeyInfo,
    /// When the application last accepted something that was signed with it.
    proved_at: Option<Millis>,
}

impl ShownKey {
    fn of(info: KeyInfo, proved: Option<&(String, Millis)>) -> Self {
        let (tone, key) = match (&info.trial, info.retires_at) {
            (Some(_), _) => ("wait", "key-next"),
            (None, Some(_)) => ("idle", "key-retiring"),
            (None, None) => ("good", "key-current"),
        };
        Self {
            tone,
            key,
            proved_at: proved.filter(|(kid, _)| *kid == info.kid).map(|(_, at)| *at),
            info,
        }
    }
}

/// The key under which the application last accepted a request, and when that was.
fn proved(
    tx: &mut Tx<'_>,
    application_id: &str,
    keys: &[KeyInfo],
) -> Result<Option<(String, Millis)>, DbError> {
    let accepted = Filter {
        outcome: Outcome::Accepted,
        ..Filter::default()
    };
    let found = attempts::page(
        tx,
        &mut Search::of(LOOKED_AT),
        application_id,
        &accepted,
        None,
        10,
    )?;
    // A trial is signed with a key that does not sign otherwise.
    let mut found = found
        .found
        .into_iter()
        .filter(|(_, attempt)| attempt.source != Source::KeyTrial.as_str());
    Ok(found.next().and_then(|(_, attempt)| {
        let signed = keys
            .iter()
            .filter_map(|key| Some((key.signs_from?, &key.kid)))
            .filter(|(from, _)| *from <= attempt.started_at)
            .max()?;
        Some((signed.1.clone(), attempt.started_at))
    }))
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    page: Page,
    form: Filled,
    meanwhile: Vec<Meanwhile>,
    head: Head,
    jwks: String,
    keys: Vec<ShownKey>,
    rotation: Rotation,
    /// Whether a key waits for its trial.
    is_under_way: bool,
    /// Whether there is a key to go back to.
    can_revert: bool,
}

impl KeysPage {
    async fn of(
        view: View,
        mut form: Filled,
        application: Application,
        meanwhile: Vec<Meanwhile>,
    ) -> Result<Self, Failure> {
        form.put("version", application.update_time.to_string());
        let (id, now) = (application.id.clone(), view.console.now());
        let (status, found, proved, serving) = view
            .console
            .db()
            .read(move |tx| {
                let found = keys::list(tx, &application.id, now)?;
                let status = status::of(tx, application.clone())?;
                let proved = proved(tx, &application.id, &found)?;
                Ok::<_, DbError>((status, found, proved, instance::serving(tx)?))
            })
            .await?;
        Ok(Self {
            head: Head::of(&status, Tab::Keys, &view.page),
            form,
            meanwhile,
            jwks: jwks(&view, serving.as_ref(), &id),
            rotation: Rotation::of(&found, now),
            is_under_way: found.iter().any(|key| key.trial.is_some()),
            can_revert: found.iter().any(|key| key.retires_at.is_some()),
            keys: found
                .into_iter()
                .map(|key| ShownKey::of(key, proved.as_ref()))
                .collect(),
            page: view.page,
        })
    }
}

pub(super) async fn keys(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadApplications)?;
    let application = view.application(id).await?;
    let form = Filled::with(&[("hours", HOURS)]);
    show(&KeysPage::of(view, form, application, Vec::new()).await?)
}

/// The step that a button stands for, and what is said when it is done; `None` for one that is refused in the form.
async fn step(view: &View, form: &mut Filled) -> Result<Option<(RotationStep, &'static str)>, Failure> {
    let page = &view.page;
    Ok(Some(match form.value("do") {
        "rotate" => {
            let hours = form.value("hours").parse::<f64>().ok();
            let hours = hours.filter(|hours| (0.0..=MOST_HOURS).contains(hours));
            let Some(hours) = hours else {
                form.refuse("hours", page.t("rotate-hours-rule"));
                return Ok(None);
            };
            let delay = Duration::from_secs_f64(hours * 3_600.0);
            let key = signing_key(view).await?;
            (RotationStep::Publish { key, delay }, "key-rotate")
        }
        "try" => (RotationStep::TryNow, "key-try"),
        "withdraw" => (RotationStep::Withdraw, "key-withdraw"),
        "revert" => (RotationStep::Revert, "key-revert"),
        "replace" if form.is_on("sure") => {
            let key = signing_key(view).await?;
            (RotationStep::Replace { key }, "key-replace")
        }
        "replace" => {
            form.refuse("sure", page.t("replace-unsure"));
            return Ok(None);
        }
        _ => return Err(Failure::NotFound),
    }))
}

/// Does a step of a rotation. A form that is sent twice does it once: the second finds another version.
pub(super) async fn rotate(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Applications);
    let mut application = view.application(id).await?;
    let mut changes = Vec::new();
    if let Some((step, what)) = step(&view, &mut form).await? {
        let id = application.id.clone();
        let command = Command::RotateSigningKey { id, step };
        let key = match view.console.hub().apply_application(caller, command).await {
            Ok(_) => return done(&format!("/console/applications/{}/keys", application.id), what),
            Err(ApplicationError::Changed { id, expected, .. }) => {
                changes = meanwhile(&view, &id, expected).await?;
                "keys-changed"
            }
            Err(ApplicationError::Rotation(RotationError::UnderWay(_))) => "rotate-under-way",
            Err(ApplicationError::Rotation(RotationError::NotUnderWay)) => "rotate-not-under-way",
            Err(ApplicationError::Rotation(RotationError::NothingEarlier)) => "revert-nothing",
            Err(error) => return Err(error.into()),
        };
        form.warn(view.page.t(key));
        application = view.application(application.id).await?;
    }
    again(&KeysPage::of(view, form, application, changes).await?)
}
