//! *Keys*: which key signs, which one is to follow, and which one goes.

use askama::Template;
use axum::extract::Path;
use rollcall_db::DbError;

use super::provisioning::jwks;
use super::{Head, Tab};
use crate::access::Permission;
use crate::application::keys::rotation::Rotation;
use crate::application::keys::{self, KeyInfo};
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::status;
use crate::instance;

/// A key as it is shown.
struct ShownKey {
    tone: &'static str,
    key: &'static str,
    info: KeyInfo,
}

impl ShownKey {
    fn of(info: KeyInfo) -> Self {
        let (tone, key) = match (&info.trial, info.retires_at) {
            (Some(_), _) => ("wait", "key-next"),
            (None, Some(_)) => ("idle", "key-retiring"),
            (None, None) => ("good", "key-current"),
        };
        Self { tone, key, info }
    }
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    page: Page,
    head: Head,
    jwks: String,
    keys: Vec<ShownKey>,
    rotation: Rotation,
}

pub(in crate::console) async fn keys(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadApplications)?;
    let application = view.application(id).await?;
    let (id, now) = (application.id.clone(), view.console.now());
    let (status, found, serving) = view
        .console
        .db()
        .read(move |tx| {
            let found = keys::list(tx, &application.id, now)?;
            let status = status::of(tx, application.clone())?;
            Ok::<_, DbError>((status, found, instance::serving(tx)?))
        })
        .await?;
    show(&KeysPage {
        head: Head::of(&status, Tab::Keys, &view.page),
        jwks: jwks(&view, serving.as_ref(), &id),
        rotation: Rotation::of(&found, now),
        keys: found.into_iter().map(ShownKey::of).collect(),
        page: view.page,
    })
}
