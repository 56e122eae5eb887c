//! Making an application, and editing its name and push parameters.

use askama::Template;
use axum::extract::Path;
use rollcall_protocol::EncryptionKey;

use super::meanwhile::{Meanwhile, meanwhile};
use super::refusal::{LIMITS, explain};
use crate::access::{Caller, Permission};
use crate::application::keys::NewKey;
use crate::application::{
    Application, ApplicationError, Command, Encryption, EventCallback, Limits, Mode, NewApplication, Scope,
    Settings, SettingsPatch, Subscription,
};
use crate::clock::Millis;
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::health::{HIDDEN_QUERY, without_query};
use crate::console::once::ShownOnce;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::secret::{ExposeSecret as _, SecretString};

/// The fields of name and push parameters.
const FIELDS: [&str; 8] = [
    "name",
    "url",
    "encryption",
    "passwords",
    "maxEvents",
    "maxBytes",
    "lanes",
    "rate",
];

/// What a form calls the value that a field had when the form was opened.
pub(super) fn earlier(field: &str) -> String {
    format!("earlier-{field}")
}

#[derive(Template)]
#[template(path = "application_form.html")]
struct ApplicationFormPage {
    page: Page,
    form: Filled,
    /// What is changed: id and name; `None` if one is made.
    application: Option<(String, String)>,
    has_key: bool,
    /// Whether it pushes by SCIM, whose parameters have a form of their own.
    is_scim: bool,
    fields: [&'static str; 8],
    meanwhile: Vec<Meanwhile>,
}

impl ApplicationFormPage {
    fn new(page: Page, form: Filled) -> Self {
        Self {
            page,
            form,
            application: None,
            has_key: false,
            is_scim: false,
            fields: FIELDS,
            meanwhile: Vec::new(),
        }
    }

    fn of(page: Page, form: Filled, application: &Application, meanwhile: Vec<Meanwhile>) -> Self {
        Self {
            application: Some((application.id.clone(), application.name.clone())),
            has_key: application.has_encryption_key,
            is_scim: application.settings.scim().is_some(),
            meanwhile,
            ..Self::new(page, form)
        }
    }

    /// What a field had when the form was opened.
    fn earlier(&self, field: &str) -> String {
        self.form.value(&earlier(field)).to_owned()
    }
}

fn limit_fields(form: &mut Filled, limits: Limits) {
    let rate = limits.requests_per_second.map(|rate| rate.to_string());
    form.put("maxEvents", limits.max_events.to_string());
    form.put("maxBytes", limits.max_bytes.to_string());
    form.put("lanes", limits.lanes.to_string());
    form.put("rate", rate.unwrap_or_default());
}

/// The form of an application as it is now. What stands behind the question mark of its address stays hidden.
fn filled(application: &Application) -> Filled {
    let settings = &application.settings;
    let is_encrypted = settings.encryption() == Encryption::Required;
    let yes = |is: bool| if is { "yes" } else { "" };
    let mut form = Filled::with(&[
        ("name", &application.name),
        ("url", &without_query(settings.url())),
        ("encryption", yes(is_encrypted)),
        ("passwords", yes(settings.password_synchronization)),
    ]);
    limit_fields(&mut form, settings.limits);
    begin(&mut form, &FIELDS, Some(application.update_time));
    form
}

/// Notes with which values, and of which version, a form begins.
pub(super) fn begin(form: &mut Filled, fields: &[&str], version: Option<Millis>) {
    for field in fields {
        let value = form.value(field).to_owned();
        form.put(&earlier(field), value);
    }
    if let Some(version) = version {
        form.put("version", version.to_string());
    }
}

/// Whether somebody has changed a field since the form was opened.
pub(super) fn differs(form: &Filled, field: &str) -> bool {
    form.value(field) != form.value(&earlier(field))
}

/// The scope with which an application begins, as its form says, and which of its pages comes next.
pub(super) fn extent(form: &Filled) -> (Scope, &'static str) {
    match form.is("extent", "everything") {
        true => (Scope::everything(), ""),
        false => (Scope::default(), "/scope"),
    }
}

/// What came of a command that a form asked for.
pub(super) enum Tried {
    /// It was carried out, and may have made an encryption key.
    Done(Option<EncryptionKey>),
    /// Somebody else was faster: this is what has changed meanwhile. The application is read again.
    Changed(Vec<Meanwhile>),
    /// The form says why it was refused.
    Refused,
}

/// Carries out what a form asks of an application.
pub(super) async fn carry_out(
    view: &View,
    caller: Caller,
    command: Command,
    form: &mut Filled,
    application: &mut Application,
) -> Result<Tried, Failure> {
    match view.console.hub().apply_application(caller, command).await {
        Ok(applied) => Ok(Tried::Done(applied.encryption_key)),
        Err(ApplicationError::Changed { expected, .. }) => {
            let changes = meanwhile(view, &application.id, expected).await?;
            *application = view.application(application.id.clone()).await?;
            Ok(Tried::Changed(changes))
        }
        Err(error) => {
            explain(form, &view.page, error)?;
            Ok(Tried::Refused)
        }
    }
}

/// Has a form that no field of which can be merged begin with the application as it is now.
pub(super) fn begin_anew(form: &mut Filled, page: &Page, application: &Application) {
    form.put("version", application.update_time.to_string());
    form.warn(page.t("application-changed-meanwhile"));
}

/// Takes what somebody else has changed into a form: where this one was left as it was, theirs stands in it now, and
/// where both have changed a field, what they have written stands beside it.
pub(super) fn merge(form: &mut Filled, fields: &[&str], is: &Filled) {
    for field in fields {
        if !differs(form, field) {
            form.put(field, is.value(field));
        }
        form.put(&earlier(field), is.value(field));
    }
    form.compare(is, fields);
}

/// A number between its bounds; a form in which it is none is refused. What is empty has to be allowed.
pub(super) fn number(form: &mut Filled, page: &Page, field: &str) -> Option<u32> {
    let text = form.value(field).to_owned();
    let limit = LIMITS.iter().find(|limit| limit.field == field)?;
    let number = match text.is_empty() && limit.may_be_empty {
        true => return Some(0),
        false => text.parse().ok(),
    };
    let number = number.filter(|number| (limit.least..=limit.most).contains(number));
    if number.is_none() {
        form.refuse(field, limit.words(page));
    }
    number
}

/// The key that somebody has typed.
fn typed_key(form: &mut Filled, page: &Page) -> Option<EncryptionKey> {
    let typed = form.take_secret("key");
    let key = EncryptionKey::from_hex(typed.expose_secret()).ok();
    if key.is_none() {
        form.refuse("key", page.t("encryption-key-rule"));
    }
    key
}

pub(super) async fn new(view: View) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let mut form = Filled::with(&[("protection", "generate"), ("extent", "chosen")]);
    limit_fields(&mut form, Limits::default());
    show(&ApplicationFormPage::new(view.page, form))
}

pub(super) async fn create(mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Applications);
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let page = &view.page;
    let hub = view.console.hub();
    let key = match form.value("protection") {
        "generate" => Some(EncryptionKey::generate(&*hub.random)),
        "enter" => typed_key(&mut form, page),
        _ => None,
    };
    let encryption = match form.is("protection", "off") {
        true => Encryption::Off,
        false => Encryption::Required,
    };
    let limits = Limits {
        max_events: number(&mut form, page, "maxEvents").unwrap_or_default(),
        max_bytes: number(&mut form, page, "maxBytes").unwrap_or_default(),
        lanes: number(&mut form, page, "lanes").unwrap_or_default(),
        requests_per_second: number(&mut form, page, "rate").filter(|rate| *rate > 0),
    };
    let made = key.as_ref().filter(|_| form.is("protection", "generate"));
    let made = made.map(EncryptionKey::to_hex);
    let settings = Settings {
        mode: Mode::EventCallback(EventCallback {
            url: form.value("url").to_owned(),
            encryption,
        }),
        password_synchronization: form.is_on("passwords"),
        limits,
    };
    // So that all that is wrong is said at once.
    if let Err(error) = settings.validate(key.is_some()) {
        explain(&mut form, page, error.into())?;
    }
    if !form.is_refused() {
        let (scope, next) = extent(&form);
        let new = NewApplication {
            name: form.value("name").to_owned(),
            settings,
            encryption_key: key,
            secret: None,
            scope,
            subscription: Subscription::everything(),
            signing_key: signing_key(&view).await?,
        };
        match hub
            .apply_application(caller, Command::Create(Box::new(new)))
            .await
        {
            Ok(applied) => {
                let back = format!("/console/applications/{}{next}", applied.application.id);
                return match made {
                    Some(key) => key_once(view.page, &applied.application, &key, &back),
                    None => done(&back, "application-created"),
                };
            }
            Err(error) => explain(&mut form, page, error)?,
        }
    }
    again(&ApplicationFormPage::new(view.page, form))
}

/// Makes a signing key, which takes a while.
pub(super) async fn signing_key(view: &View) -> Result<NewKey, Failure> {
    let hub = view.console.hub().clone();
    let making =
        tokio::task::spawn_blocking(move || NewKey::generate(hub.clock.now(), &*hub.random, &hub.master));
    let made = making
        .await
        .map_err(|error| Failure::Internal(error.to_string()))?;
    made.map_err(|error| Failure::Internal(error.to_string()))
}

/// Shows an encryption key that was just made.
fn key_once(page: Page, application: &Application, key: &str, back: &str) -> Answer {
    show(&ShownOnce {
        title: page.t1("encryption-key-made", "name", &application.name),
        lead: page.t("encryption-key-lead"),
        label: page.t("encryption-key"),
        secret: SecretString::from(key.to_owned()),
        beside: None,
        back: back.to_owned(),
        page,
    })
}

pub(super) async fn edit(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let application = view.application(id).await?;
    let form = filled(&application);
    show(&ApplicationFormPage::of(
        view.page,
        form,
        &application,
        Vec::new(),
    ))
}

/// What somebody wants to be different from how the application is: whatever else another changes meanwhile stays.
fn patch(form: &mut Filled, page: &Page) -> (Option<String>, SettingsPatch) {
    let text = |form: &Filled, field: &str| differs(form, field).then(|| form.value(field).to_owned());
    let mut limit = |field: &str| differs(form, field).then(|| number(form, page, field)).flatten();
    let limits = ["maxEvents", "maxBytes", "lanes", "rate"].map(&mut limit);
    if differs(form, "url") && form.value("url").ends_with(HIDDEN_QUERY) {
        form.refuse("url", page.t("application-url-hidden"));
    }
    let [max_events, max_bytes, lanes, requests_per_second] = limits;
    let patch = SettingsPatch {
        mode: None,
        scim: None,
        url: text(form, "url"),
        encryption: differs(form, "encryption").then(|| match form.is_on("encryption") {
            true => Encryption::Required,
            false => Encryption::Off,
        }),
        password_synchronization: differs(form, "passwords").then(|| form.is_on("passwords")),
        max_events,
        max_bytes,
        lanes,
        requests_per_second,
    };
    (text(form, "name"), patch)
}

pub(super) async fn update(Path(id): Path<String>, mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Applications);
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let mut application = view.application(id).await?;
    let mut changes = Vec::new();
    let (name, settings) = patch(&mut form, &view.page);
    if !form.is_refused() {
        let id = application.id.clone();
        let command = Command::Update {
            id,
            name,
            settings,
            secret: None,
        };
        match carry_out(&view, caller, command, &mut form, &mut application).await? {
            Tried::Done(_) => {
                let to = format!("/console/applications/{}", application.id);
                return done(&to, "application-saved");
            }
            Tried::Changed(meanwhile) => {
                changes = meanwhile;
                merge(&mut form, &FIELDS, &filled(&application));
                form.warn(view.page.t("form-changed"));
            }
            Tried::Refused => {}
        }
    }
    again(&ApplicationFormPage::of(view.page, form, &application, changes))
}

#[derive(Template)]
#[template(path = "encryption_form.html")]
struct EncryptionFormPage {
    page: Page,
    form: Filled,
    id: String,
    name: String,
    has_key: bool,
    meanwhile: Vec<Meanwhile>,
}

impl EncryptionFormPage {
    fn of(page: Page, form: Filled, application: &Application, meanwhile: Vec<Meanwhile>) -> Self {
        Self {
            id: application.id.clone(),
            name: application.name.clone(),
            has_key: application.has_encryption_key,
            page,
            form,
            meanwhile,
        }
    }
}

pub(super) async fn encryption(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let application = view.application(id).await?;
    let version = application.update_time.to_string();
    let form = Filled::with(&[("version", &version), ("protection", "generate")]);
    show(&EncryptionFormPage::of(view.page, form, &application, Vec::new()))
}

/// Makes or stores another encryption key. A form that is sent twice makes one key: the second finds another version.
pub(super) async fn set_encryption(Path(id): Path<String>, mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Applications);
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let mut application = view.application(id).await?;
    let id = application.id.clone();
    let command = match form.is("protection", "enter") {
        true => typed_key(&mut form, &view.page).map(|key| Command::SetEncryptionKey { id, key }),
        false => Some(Command::GenerateEncryptionKey { id }),
    };
    let mut changes = Vec::new();
    if let Some(command) = command {
        let back = format!("/console/applications/{}", application.id);
        match carry_out(&view, caller, command, &mut form, &mut application).await? {
            Tried::Done(Some(key)) => return key_once(view.page, &application, &key.to_hex(), &back),
            Tried::Done(None) => return done(&back, "encryption-key"),
            Tried::Changed(meanwhile) => {
                changes = meanwhile;
                begin_anew(&mut form, &view.page, &application);
            }
            Tried::Refused => {}
        }
    }
    again(&EncryptionFormPage::of(view.page, form, &application, changes))
}
