//! *Receive*: what the application's developers need, filled in with its values.

use askama::Template;
use axum::extract::Path;
use rollcall_db::DbError;

use super::provisioning::jwks;
use super::{Head, Tab};
use crate::access::Permission;
use crate::application::Encryption;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::status;
use crate::instance;

#[derive(Template)]
#[template(path = "receive.html")]
struct ReceivePage {
    page: Page,
    head: Head,
    jwks: String,
    audience: String,
    issuer: &'static str,
    is_encrypted: bool,
    mirror: String,
}

pub(in crate::console) async fn receive(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadApplications)?;
    let application = view.application(id).await?;
    let id = application.id.clone();
    let is_encrypted = application.settings.callback().encryption == Encryption::Required;
    let (status, serving) = view
        .console
        .db()
        .read(move |tx| Ok::<_, DbError>((status::of(tx, application.clone())?, instance::serving(tx)?)))
        .await?;
    let jwks = jwks(&view, serving.as_ref(), &id);
    show(&ReceivePage {
        head: Head::of(&status, Tab::Receive, &view.page),
        mirror: mirror(&jwks, &id, &view.console.hub().instance.id, is_encrypted),
        issuer: rollcall_protocol::ISSUER,
        is_encrypted,
        jwks,
        audience: id,
        page: view.page,
    })
}

/// The configuration of the receiver that comes with the hub (`rollcall-mirror.toml`).
fn mirror(jwks: &str, application_id: &str, instance_id: &str, is_encrypted: bool) -> String {
    let key = match is_encrypted {
        true => "encryption_key_file = \"encryption.key\"\n",
        false => "",
    };
    format!(
        "jwks_url = \"{jwks}\"\napplication_id = \"{application_id}\"\ninstance_id = \"{instance_id}\"\n{key}"
    )
}
