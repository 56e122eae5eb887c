//! Pushing by SCIM: the form of its parameters, with a preview on real users; and the way from one mode to the other.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Path;
use rollcall_scim::client::{Preset, Rate};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::meanwhile::Meanwhile;
use super::refusal::explain;
use super::settings::{
    Tried, begin, begin_anew, carry_out, differs, earlier, extent, merge, number, signing_key,
};
use crate::access::Permission;
use crate::application::scim::{
    Action, Authentication, ProfilePatch, Scim, ScimPatch, SecretIn, Thresholds, ThresholdsPatch,
    stored_name, usual_mapping,
};
use crate::application::{Application, Command, ModeName, NewApplication, SettingsPatch, Subscription};
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, pretty, show};
use crate::delivery::route::scim::preview::{self, Previewed};
use crate::directory::DirectoryError;
use crate::secret::{ExposeSecret as _, SecretString};

/// The fields of the form, but for the secret.
const FIELDS: [&str; 28] = [
    "name",
    "url",
    "authentication",
    "tokenUrl",
    "clientId",
    "secretIn",
    "tokenScope",
    "create",
    "update",
    "delete",
    "groups",
    "leavers",
    "preset",
    "mapping",
    "usersBy",
    "groupsBy",
    "removal",
    "paths",
    "membersAtOnce",
    "findsExternalIds",
    "etags",
    "pageSize",
    "rateRequests",
    "rateSeconds",
    "leaving",
    "leavingPercent",
    "memberRemovals",
    "emptiedGroups",
];

/// How many seconds a limit is for, if nobody says.
const SECONDS: &str = "60";

/// A user as the application would have it.
struct Shown {
    username: String,
    in_scope: bool,
    /// The resource, or why there is none.
    text: Result<String, String>,
}

impl From<Previewed> for Shown {
    fn from(previewed: Previewed) -> Self {
        Self {
            username: previewed.username,
            in_scope: previewed.in_scope,
            text: match previewed.resource {
                Some(resource) => Ok(pretty(&resource)),
                None => Err(previewed.refusal.unwrap_or_default()),
            },
        }
    }
}

#[derive(Template)]
#[template(path = "scim_form.html")]
struct ScimFormPage {
    page: Page,
    form: Filled,
    /// What is changed: id and name; `None` if one is made.
    application: Option<(String, String)>,
    /// Whether it pushes by SCIM already.
    is_scim: bool,
    has_secret: bool,
    presets: Vec<(&'static str, &'static str)>,
    secret_in: Vec<(&'static str, &'static str)>,
    users_by: Vec<(&'static str, &'static str)>,
    groups_by: Vec<(&'static str, &'static str)>,
    removal: Vec<(&'static str, &'static str)>,
    fields: [&'static str; FIELDS.len()],
    preview: Option<Vec<Shown>>,
    meanwhile: Vec<Meanwhile>,
}

impl ScimFormPage {
    fn of(page: Page, form: Filled, application: Option<&Application>) -> Self {
        Self {
            page,
            form,
            application: application.map(|it| (it.id.clone(), it.name.clone())),
            is_scim: application.is_some_and(|it| it.settings.scim().is_some()),
            has_secret: application.is_some_and(|it| it.has_secret),
            presets: Preset::ALL
                .map(|preset| (preset.as_str(), preset_key(preset)))
                .into(),
            secret_in: vec![("header", "secret-in-header"), ("body", "secret-in-body")],
            users_by: vec![("patch", "scim-by-patch"), ("put", "scim-by-put")],
            groups_by: vec![
                ("change", "scim-by-change"),
                ("replace", "scim-by-replace"),
                ("put", "scim-by-put"),
            ],
            removal: vec![("by_filter", "removal-by-filter"), ("by_list", "removal-by-list")],
            fields: FIELDS,
            preview: None,
            meanwhile: Vec::new(),
        }
    }

    /// What a field had when the form was opened.
    fn earlier(&self, field: &str) -> String {
        self.form.value(&earlier(field)).to_owned()
    }
}

/// The key of the text that names a preset.
pub(super) fn preset_key(preset: Preset) -> &'static str {
    match preset {
        Preset::Standard => "preset-standard",
        Preset::EntraGallery => "preset-entra-gallery",
        Preset::Slack => "preset-slack",
        Preset::GitHub => "preset-github",
        Preset::AwsIdentityCenter => "preset-aws",
        Preset::CloudSso => "preset-cloud-sso",
    }
}

/// What has such a name.
fn named<T: DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(Json::from(name)).ok()
}

/// The parameters of an application as it is, or those with which a form begins that leads to this mode.
fn present(application: Option<&Application>) -> Scim {
    match application.and_then(|it| it.settings.scim()) {
        Some(scim) => scim.clone(),
        None => Scim::preset(Preset::default(), "", Authentication::default()),
    }
}

fn filled(application: Option<&Application>) -> Filled {
    let scim = present(application);
    let yes = |is: bool| if is { "yes" } else { "" };
    let (tokens, client) = match &scim.authentication {
        Authentication::BearerToken => ("bearer_token", None),
        Authentication::ClientCredentials {
            token_url,
            client_id,
            method,
            scope,
        } => ("client_credentials", Some((token_url, client_id, *method, scope))),
    };
    let method = client
        .as_ref()
        .map_or(SecretIn::default(), |(_, _, method, _)| *method);
    let mapping = scim.effective_mapping();
    let mapping: String = mapping
        .iter()
        .map(|(target, expression)| format!("{target} = {expression}\n"))
        .collect();
    let profile = &scim.profile;
    let mut form = Filled::with(&[
        ("name", application.map_or("", |it| it.name.as_str())),
        ("url", &scim.base_url),
        ("authentication", tokens),
        ("tokenUrl", client.as_ref().map_or("", |(url, ..)| url.as_str())),
        ("clientId", client.as_ref().map_or("", |(_, id, ..)| id.as_str())),
        ("secretIn", method.into()),
        ("groups", yes(scim.groups)),
        ("leavers", scim.leavers.into()),
        ("preset", scim.preset.as_str()),
        ("mapping", mapping.trim_end()),
        ("paths", yes(profile.paths)),
        ("findsExternalIds", yes(profile.finds_external_ids)),
        ("etags", yes(profile.etags)),
    ]);
    let scope = client.and_then(|(_, _, _, scope)| scope.clone());
    form.put("tokenScope", scope.unwrap_or_default());
    for action in Action::ALL {
        form.put(action.into(), yes(scim.does(action)).to_owned());
    }
    form.put("usersBy", stored_name(&profile.users));
    form.put("groupsBy", stored_name(&profile.groups));
    form.put("removal", stored_name(&profile.removal));
    form.put("membersAtOnce", profile.members_at_once.to_string());
    form.put("pageSize", profile.page_size.to_string());
    let (requests, seconds) = match profile.rate {
        Some(Rate { requests, seconds }) => (requests.to_string(), seconds.to_string()),
        None => (String::new(), SECONDS.to_owned()),
    };
    form.put("rateRequests", requests);
    form.put("rateSeconds", seconds);
    let Thresholds {
        leaving,
        leaving_percent,
        member_removals,
        emptied_groups,
    } = scim.thresholds;
    form.put("leaving", leaving.to_string());
    form.put("leavingPercent", leaving_percent.to_string());
    form.put("memberRemovals", member_removals.to_string());
    form.put("emptiedGroups", emptied_groups.to_string());
    begin(&mut form, &FIELDS, application.map(|it| it.update_time));
    form
}

/// The changes that make of the mapping before what was typed, an attribute in each line. A line that is none is given
/// back.
fn mapping_of(text: &str, preset: Preset, before: &Scim) -> Result<BTreeMap<String, Option<String>>, String> {
    let mut typed: BTreeMap<String, &str> = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (target, expression) = line.split_once('=').ok_or_else(|| line.to_owned())?;
        typed.insert(target.trim().to_owned(), expression.trim());
    }
    let usual = usual_mapping(preset);
    let is_typed = |target: &str| typed.keys().any(|it| it.eq_ignore_ascii_case(target));
    let mut changes: BTreeMap<String, Option<String>> = BTreeMap::new();
    changes.extend(before.mapping.keys().map(|target| (target.clone(), None)));
    for (target, _) in usual.iter().filter(|(target, _)| !is_typed(target)) {
        changes.insert(target.clone(), Some(String::new()));
    }
    for (target, expression) in &typed {
        let is_usual = usual
            .iter()
            .any(|(it, usual)| it.eq_ignore_ascii_case(target) && usual == expression);
        changes.insert(target.clone(), (!is_usual).then(|| (*expression).to_owned()));
    }
    Ok(changes)
}

/// The choice of a field, if it was changed to one.
fn chosen<T: DeserializeOwned>(form: &Filled, field: &str) -> Option<T> {
    differs(form, field).then(|| named(form.value(field))).flatten()
}

/// What somebody wants to be different from how the application is.
fn patch(form: &mut Filled, page: &Page, before: &Scim) -> SettingsPatch {
    let any = |form: &Filled, fields: &[&str]| fields.iter().any(|field| differs(form, field));
    let on = |form: &Filled, field: &str| differs(form, field).then(|| form.is_on(field));
    let authentication = any(
        form,
        &["authentication", "tokenUrl", "clientId", "secretIn", "tokenScope"],
    );
    let authentication = authentication.then(|| match form.is("authentication", "client_credentials") {
        true => Authentication::ClientCredentials {
            token_url: form.value("tokenUrl").to_owned(),
            client_id: form.value("clientId").to_owned(),
            method: named(form.value("secretIn")).unwrap_or_default(),
            scope: form.given("tokenScope"),
        },
        false => Authentication::BearerToken,
    });
    let actions = Action::ALL.map(<&str>::from);
    let actions = any(form, &actions).then(|| {
        let done = Action::ALL.into_iter();
        done.filter(|action| form.is_on((*action).into())).collect()
    });
    let preset: Option<Preset> = named(form.value("preset"));
    let mapping = match differs(form, "mapping") {
        true => mapping_of(form.value("mapping"), preset.unwrap_or(before.preset), before),
        false => Ok(BTreeMap::new()),
    };
    let mapping = mapping.unwrap_or_else(|line| {
        form.refuse("mapping", page.t1("scim-mapping-line", "line", line));
        BTreeMap::new()
    });
    let rate = any(form, &["rateRequests", "rateSeconds"]).then(|| Rate {
        requests: number(form, page, "rateRequests").unwrap_or_default(),
        seconds: number(form, page, "rateSeconds").unwrap_or(1),
    });
    let mut changed = |field: &str| differs(form, field).then(|| number(form, page, field)).flatten();
    let (members_at_once, page_size) = (changed("membersAtOnce"), changed("pageSize"));
    let thresholds = ThresholdsPatch {
        leaving: changed("leaving"),
        leaving_percent: changed("leavingPercent"),
        member_removals: changed("memberRemovals"),
        emptied_groups: changed("emptiedGroups"),
    };
    let scim = ScimPatch {
        authentication,
        actions,
        groups: on(form, "groups"),
        leavers: chosen(form, "leavers"),
        preset: preset.filter(|_| differs(form, "preset")),
        mapping,
        profile: ProfilePatch {
            users: chosen(form, "usersBy"),
            groups: chosen(form, "groupsBy"),
            removal: chosen(form, "removal"),
            paths: on(form, "paths"),
            members_at_once,
            finds_external_ids: on(form, "findsExternalIds"),
            etags: on(form, "etags"),
            page_size,
            rate,
        },
        thresholds,
    };
    SettingsPatch {
        mode: Some(ModeName::Scim),
        url: differs(form, "url").then(|| form.value("url").to_owned()),
        scim: Some(scim),
        ..SettingsPatch::default()
    }
}

/// The secret that was typed, if one was.
fn typed_secret(form: &mut Filled) -> Option<SecretString> {
    let typed = form.take_secret("secret");
    let text = typed.expose_secret().trim();
    (!text.is_empty()).then(|| text.to_owned().into())
}

pub(super) async fn new(view: View) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let mut form = filled(None);
    form.put("extent", "chosen".to_owned());
    show(&ScimFormPage::of(view.page, form, None))
}

pub(super) async fn create(mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Applications);
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let secret = typed_secret(&mut form);
    let patch = patch(&mut form, &view.page, &present(None));
    // An address that was left empty is none, and is said to be.
    let url = Some(form.value("url").to_owned());
    let made = SettingsPatch { url, ..patch }.made(false);
    let made = made.and_then(|settings| {
        settings.validate(false)?;
        settings.check_secret(secret.as_ref(), false, None)?;
        Ok(settings)
    });
    match made {
        Err(error) => explain(&mut form, &view.page, error.into())?,
        Ok(settings) if !form.is_refused() => {
            let (scope, next) = extent(&form);
            let new = NewApplication {
                name: form.value("name").to_owned(),
                settings,
                encryption_key: None,
                secret,
                scope,
                subscription: Subscription::everything(),
                signing_key: signing_key(&view).await?,
            };
            let create = Command::Create(Box::new(new));
            match view.console.hub().apply_application(caller, create).await {
                Ok(applied) => {
                    let to = format!("/console/applications/{}{next}", applied.application.id);
                    return done(&to, "application-created");
                }
                Err(error) => explain(&mut form, &view.page, error)?,
            }
        }
        Ok(_) => {}
    }
    again(&ScimFormPage::of(view.page, form, None))
}

pub(super) async fn edit(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let application = view.application(id).await?;
    let form = filled(Some(&application));
    show(&ScimFormPage::of(view.page, form, Some(&application)))
}

/// Saves the form, or shows what users would be by it.
pub(super) async fn update(Path(id): Path<String>, mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Applications);
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let mut application = view.application(id).await?;
    let secret = typed_secret(&mut form);
    let name = differs(&form, "name").then(|| form.value("name").to_owned());
    let settings = patch(&mut form, &view.page, &present(Some(&application)));
    let (mut changes, mut shown) = (Vec::new(), None);
    if form.is("do", "preview") {
        if !form.is_refused() {
            shown = preview_of(&view, &mut form, &application, settings).await?;
        }
    } else if !form.is_refused() {
        let id = application.id.clone();
        let command = Command::Update {
            id,
            name,
            settings,
            secret,
        };
        match carry_out(&view, caller, command, &mut form, &mut application).await? {
            Tried::Done(_) => {
                let to = format!("/console/applications/{}", application.id);
                return done(&to, "application-saved");
            }
            Tried::Changed(meanwhile) => {
                changes = meanwhile;
                merge(&mut form, &FIELDS, &filled(Some(&application)));
                form.warn(view.page.t("form-changed"));
            }
            Tried::Refused => {}
        }
    }
    again(&ScimFormPage {
        meanwhile: changes,
        preview: shown,
        ..ScimFormPage::of(view.page, form, Some(&application))
    })
}

/// What users would be, if what was typed can be used.
async fn preview_of(
    view: &View,
    form: &mut Filled,
    application: &Application,
    settings: SettingsPatch,
) -> Result<Option<Vec<Shown>>, Failure> {
    let parameters = match settings.tried_on(&application.settings) {
        Ok(parameters) => parameters,
        Err(error) => {
            explain(form, &view.page, error.into())?;
            return Ok(None);
        }
    };
    let users = form.value("previewUsers").split([',', ' ', '\n']).map(str::trim);
    let users: Vec<String> = users.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let (sight, id) = (view.sight().await?, application.id.clone());
    let read = view
        .console
        .db()
        .read(move |tx| preview::preview(tx, &sight, &id, &parameters, &users));
    match read.await {
        Ok(previewed) => Ok(Some(previewed.into_iter().map(Shown::from).collect())),
        Err(DirectoryError::NotFound { .. } | DirectoryError::InvalidField { .. }) => {
            form.refuse("previewUsers", view.page.t("scim-preview-unknown"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Template)]
#[template(path = "callback_form.html")]
struct CallbackFormPage {
    page: Page,
    form: Filled,
    id: String,
    name: String,
    meanwhile: Vec<Meanwhile>,
}

impl CallbackFormPage {
    fn of(page: Page, form: Filled, application: &Application, meanwhile: Vec<Meanwhile>) -> Self {
        Self {
            page,
            form,
            id: application.id.clone(),
            name: application.name.clone(),
            meanwhile,
        }
    }
}

pub(super) async fn callback(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let application = view.application(id).await?;
    let version = application.update_time.to_string();
    let form = Filled::with(&[("version", &version)]);
    show(&CallbackFormPage::of(view.page, form, &application, Vec::new()))
}

/// Sends event callbacks from now on.
pub(super) async fn set_callback(Path(id): Path<String>, mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Applications);
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let mut application = view.application(id).await?;
    let command = Command::Update {
        id: application.id.clone(),
        name: None,
        settings: SettingsPatch {
            mode: Some(ModeName::EventCallback),
            url: Some(form.value("url").to_owned()),
            ..SettingsPatch::default()
        },
        secret: None,
    };
    let mut changes = Vec::new();
    match carry_out(&view, caller, command, &mut form, &mut application).await? {
        Tried::Done(_) => {
            let to = format!("/console/applications/{}", application.id);
            return done(&to, "application-saved");
        }
        Tried::Changed(meanwhile) => {
            changes = meanwhile;
            begin_anew(&mut form, &view.page, &application);
        }
        Tried::Refused => {}
    }
    again(&CallbackFormPage::of(view.page, form, &application, changes))
}
