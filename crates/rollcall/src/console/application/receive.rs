//! *Receive*: what the application's developers need, filled in with its values.

use askama::Template;
use axum::extract::Path;
use axum::http::header;
use axum::response::IntoResponse as _;
use rollcall_db::DbError;

use super::provisioning::jwks;
use super::{Head, Tab};
use crate::access::Permission;
use crate::application::{Application, Encryption};
use crate::console::error::Failure;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::status::{self, ApplicationStatus};
use crate::instance;

/// Receivers that work as they are, with the environment file.
const NODE: &str = include_str!("../../../assets/samples/receiver.mjs");
const PYTHON: &str = include_str!("../../../assets/samples/receiver.py");
/// What goes over the wire, and what follows from it.
const PROTOCOL: &str = include_str!("../../../docs/PROTOCOL.md");
const RECEIVING: &str = include_str!("../../../docs/RECEIVING.md");

/// What a receiver has to know.
struct Values {
    jwks: String,
    audience: String,
    instance: String,
    is_encrypted: bool,
}

impl Values {
    async fn of(view: &View, application: Application) -> Result<(Self, ApplicationStatus), Failure> {
        let is_encrypted = application.settings.encryption() == Encryption::Required;
        let (status, serving) = view
            .console
            .db()
            .read(move |tx| Ok::<_, DbError>((status::of(tx, application.clone())?, instance::serving(tx)?)))
            .await?;
        let values = Self {
            jwks: jwks(view, serving.as_ref(), &status.application.id),
            audience: status.application.id.clone(),
            instance: view.console.hub().instance.id.clone(),
            is_encrypted,
        };
        Ok((values, status))
    }

    /// As an environment file, which the samples and the receivers of `contrib` read.
    fn environment(&self) -> String {
        let key = match self.is_encrypted {
            true => {
                "# 64 hexadecimal digits, which were shown once when the key was made\nROLLCALL_ENCRYPTION_KEY=\n"
            }
            false => "",
        };
        format!(
            "ROLLCALL_JWKS_URL={}\nROLLCALL_APPLICATION_ID={}\n{key}",
            self.jwks, self.audience
        )
    }

    /// The configuration of the receiver that comes with the hub (`rollcall-mirror.toml`).
    fn mirror(&self) -> String {
        let key = match self.is_encrypted {
            true => "encryption_key_file = \"encryption.key\"\n",
            false => "",
        };
        format!(
            "jwks_url = \"{}\"\napplication_id = \"{}\"\ninstance_id = \"{}\"\n{key}",
            self.jwks, self.audience, self.instance
        )
    }
}

#[derive(Template)]
#[template(path = "receive.html")]
struct ReceivePage {
    page: Page,
    head: Head,
    values: Values,
    issuer: &'static str,
    node: &'static str,
    python: &'static str,
}

pub(super) async fn receive(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadApplications)?;
    let application = view.application(id).await?;
    let (values, status) = Values::of(&view, application).await?;
    show(&ReceivePage {
        head: Head::of(&status, Tab::Receive, &view.page),
        values,
        issuer: rollcall_protocol::ISSUER,
        node: NODE,
        python: PYTHON,
        page: view.page,
    })
}

/// A file to take along.
pub(super) async fn file(view: View, Path((id, name)): Path<(String, String)>) -> Answer {
    view.needs(Permission::ReadApplications)?;
    let application = view.application(id).await?;
    let (values, _) = Values::of(&view, application).await?;
    let text = match name.as_str() {
        "rollcall.env" => values.environment(),
        "rollcall-mirror.toml" => values.mirror(),
        "receiver.mjs" => NODE.to_owned(),
        "receiver.py" => PYTHON.to_owned(),
        "PROTOCOL.md" => PROTOCOL.to_owned(),
        "RECEIVING.md" => RECEIVING.to_owned(),
        _ => return Err(Failure::NotFound),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    Ok((headers, text).into_response())
}
