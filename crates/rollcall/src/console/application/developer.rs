//! *Developer API*: what the application may do by itself, what its developer needs for that, and its client secrets.

use askama::Template;
use axum::extract::Path;
use rollcall_db::DbError;

use super::meanwhile::{Meanwhile, meanwhile};
use super::{Head, Tab};
use crate::access::Permission;
use crate::accounts::tokens::DAYS;
use crate::application::developer::MOST_RATE;
use crate::application::developer::secrets::{self, ClientSecret, NewClientSecret};
use crate::application::{Application, ApplicationError, Command, DeveloperApi, DeveloperApiPatch, Grant};
use crate::clock::Millis;
use crate::console::access::{EXPIRES, term_in};
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::once::ShownOnce;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::status;
use crate::instance;

/// A client secret as it is shown.
struct ShownSecret {
    secret: ClientSecret,
    is_good: bool,
}

impl ShownSecret {
    fn of(secret: ClientSecret, now: Millis) -> Self {
        Self {
            is_good: secret.is_good(now),
            secret,
        }
    }
}

#[derive(Template)]
#[template(path = "developer_api.html")]
struct DeveloperPage {
    page: Page,
    form: Filled,
    meanwhile: Vec<Meanwhile>,
    head: Head,
    is_on: bool,
    address: String,
    instance_id: String,
    secrets: Vec<ShownSecret>,
    /// Whether another secret may be made.
    may_have_secret: bool,
}

/// What can be granted of a kind of resource, with its texts.
const GRANTS: [(&str, &str); 3] = [
    ("none", "grant-none"),
    ("read", "grant-read"),
    ("write", "grant-write"),
];

impl DeveloperPage {
    fn grants(&self) -> [(&'static str, &'static str); 3] {
        GRANTS
    }

    async fn of(
        view: View,
        mut form: Filled,
        application: Application,
        meanwhile: Vec<Meanwhile>,
    ) -> Result<Self, Failure> {
        form.put("version", application.update_time.to_string());
        let (id, now) = (application.id.clone(), view.console.now());
        let instance_id = view.console.hub().instance.id.clone();
        let is_on = application.developer_api.enabled;
        let (status, found, serving) = view
            .console
            .db()
            .read(move |tx| {
                let found = secrets::of(tx, &application.id)?;
                Ok::<_, DbError>((
                    status::of(tx, application.clone())?,
                    found,
                    instance::serving(tx)?,
                ))
            })
            .await?;
        let secrets: Vec<ShownSecret> = found
            .into_iter()
            .map(|secret| ShownSecret::of(secret, now))
            .collect();
        Ok(Self {
            head: Head::of(&status, Tab::Developer, &view.page),
            form,
            meanwhile,
            is_on,
            address: instance::developer_address(serving.as_ref(), &instance_id, &id),
            instance_id,
            may_have_secret: secrets.iter().filter(|it| it.is_good).count() < secrets::AT_ONCE,
            secrets,
            page: view.page,
        })
    }
}

fn filled(api: DeveloperApi) -> Filled {
    let on = |is_on: bool| if is_on { "yes" } else { "" };
    Filled::with(&[
        ("enabled", on(api.enabled)),
        ("users", api.users.as_str()),
        ("units", api.organizational_units.as_str()),
        ("groups", api.groups.as_str()),
        ("passwords", on(api.passwords)),
        ("echo", on(api.echo)),
        ("rate", &api.requests_per_second.to_string()),
    ])
}

async fn subject(view: &View, id: String) -> Result<Application, Failure> {
    view.needs(Permission::ReadApplications)?;
    view.application(id).await
}

pub(super) async fn developer(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    let application = subject(&view, id).await?;
    let form = filled(application.developer_api);
    show(&DeveloperPage::of(view, form, application, Vec::new()).await?)
}

/// What a form grants of a kind of resource.
fn granted(form: &Filled, name: &str) -> Result<Option<Grant>, Failure> {
    Ok(Some(match form.value(name) {
        "none" => Grant::None,
        "read" => Grant::Read,
        "write" => Grant::Write,
        _ => return Err(Failure::NotFound),
    }))
}

pub(super) async fn update(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Applications);
    let application = view.application(id).await?;
    let changes = DeveloperApiPatch {
        enabled: Some(form.is_on("enabled")),
        users: granted(&form, "users")?,
        organizational_units: granted(&form, "units")?,
        groups: granted(&form, "groups")?,
        passwords: Some(form.is_on("passwords")),
        echo: Some(form.is_on("echo")),
        requests_per_second: form.value("rate").parse().ok(),
    };
    if changes
        .requests_per_second
        .is_none_or(|rate| !(1..=MOST_RATE).contains(&rate))
    {
        form.refuse("rate", view.page.t("rule-developer-rate"));
        return again(&DeveloperPage::of(view, form, application, Vec::new()).await?);
    }
    let id = application.id.clone();
    let command = Command::SetDeveloperApi { id, changes };
    match view.console.hub().apply_application(caller, command).await {
        Ok(_) => done(&address_of(&application.id), "developer-api"),
        Err(ApplicationError::Changed { id, expected, .. }) => {
            let changes = meanwhile(&view, &id, expected).await?;
            form.warn(view.page.t("developer-changed"));
            let application = view.application(application.id).await?;
            again(&DeveloperPage::of(view, form, application, changes).await?)
        }
        Err(error) => Err(error.into()),
    }
}

fn address_of(application_id: &str) -> String {
    format!("/console/applications/{application_id}/developer-api")
}

#[derive(Template)]
#[template(path = "client_secret_form.html")]
struct SecretFormPage {
    page: Page,
    form: Filled,
    application: Application,
}

pub(super) async fn new_secret(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let application = view.application(id).await?;
    show(&SecretFormPage {
        form: Filled::with(&[(EXPIRES, &DAYS.to_string())]),
        application,
        page: view.page,
    })
}

pub(super) async fn create_secret(Path(id): Path<String>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let view = view.within(Section::Applications);
    let application = view.application(id).await?;
    let term = term_in(&mut form, &view.page);
    let hub = view.console.hub();
    let ends = term.end(hub.clock.now());
    if ends.is_err() {
        form.refuse(EXPIRES, view.page.t("rule-days"));
    }
    if let (false, Ok(expires_at)) = (form.is_refused(), ends) {
        let (new, secret) = NewClientSecret::generate(application.id.clone(), expires_at, &*hub.random);
        match hub
            .apply_application(caller, Command::CreateClientSecret(new))
            .await
        {
            Ok(_) => {
                let page = view.page;
                return show(&ShownOnce {
                    title: page.t1("once-client-secret-title", "name", &application.name),
                    lead: page.t("once-client-secret-lead"),
                    label: page.t("once-client-secret-label"),
                    secret,
                    beside: None,
                    back: address_of(&application.id),
                    page,
                });
            }
            Err(ApplicationError::TooManySecrets(_)) => form.warn(view.page.t("client-secrets-full")),
            Err(error) => return Err(error.into()),
        }
    }
    again(&SecretFormPage {
        page: view.page,
        form,
        application,
    })
}

#[derive(Template)]
#[template(path = "client_secret_revoke.html")]
struct RevokePage {
    page: Page,
    application: Application,
    secret: ClientSecret,
    /// Whether none is good then.
    is_last: bool,
}

pub(super) async fn revoke_page(view: View, Path((id, secret_id)): Path<(String, String)>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let application = view.application(id).await?;
    let (of, now) = (application.id.clone(), view.console.now());
    let found = view.console.db().read(move |tx| secrets::of(tx, &of)).await?;
    let (meant, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|secret| secret.id == secret_id);
    let secret = meant.into_iter().next().ok_or(Failure::NotFound)?;
    show(&RevokePage {
        is_last: !others.iter().any(|other| other.is_good(now)),
        secret,
        application,
        page: view.page,
    })
}

pub(super) async fn revoke(Path((id, secret_id)): Path<(String, String)>, posted: Posted) -> Answer {
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let application = posted.view.application(id).await?;
    let command = Command::RevokeClientSecret {
        application_id: application.id.clone(),
        id: secret_id,
    };
    match posted.view.console.hub().apply_application(caller, command).await {
        // Somebody else was faster, and it is what was wanted.
        Ok(_) | Err(ApplicationError::NoSecret { .. }) => {
            done(&address_of(&application.id), "client-secret-revoked")
        }
        Err(error) => Err(error.into()),
    }
}
