//! *Provisioning*: what the application is sent, where to and how, in the words of the product that it stands for.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::Path;
use rollcall_db::DbError;
use rollcall_protocol::EventType;
use rollcall_scim::client::{GroupUpdate, Rate, Update};

use super::scim::preset_key;
use super::{Head, Tab};
use crate::access::Permission;
use crate::application::scim::{Action, Authentication, Leavers, Scim};
use crate::application::{Application, Encryption, Entitlements, Limits};
use crate::console::health::without_query;
use crate::console::page::{Answer, Page, Section, View, show};
use crate::delivery::status;
use crate::directory::{extent, view};
use crate::instance::{self, Serving};

/// A unit or a group of the scope.
struct InScope {
    id: String,
    name: String,
    kind: &'static str,
}

/// Events of one kind, and whether each is subscribed to.
pub(super) struct Events {
    pub(super) key: &'static str,
    pub(super) events: Vec<(&'static str, bool)>,
}

/// What pushing by SCIM is set to, by the keys of the texts that name it.
struct ByScim {
    authentication: &'static str,
    /// Where tokens are given, and who the hub is there.
    client: Option<(String, String)>,
    /// What is done, and whether it is.
    done: [(&'static str, bool); 4],
    leavers: &'static str,
    preset: &'static str,
    users_by: &'static str,
    groups_by: &'static str,
    members_at_once: u32,
    rate: Option<Rate>,
    mapping: Vec<(String, String)>,
}

impl ByScim {
    fn of(scim: &Scim) -> Self {
        let (authentication, client) = match &scim.authentication {
            Authentication::BearerToken => ("scim-bearer", None),
            Authentication::ClientCredentials {
                token_url, client_id, ..
            } => ("scim-client", Some((without_query(token_url), client_id.clone()))),
        };
        Self {
            authentication,
            client,
            done: [
                ("scim-action-create", scim.does(Action::Create)),
                ("scim-action-update", scim.does(Action::Update)),
                ("scim-action-delete", scim.does(Action::Delete)),
                ("scim-groups", scim.groups),
            ],
            leavers: match scim.leavers {
                Leavers::Disable => "leavers-disable",
                Leavers::Delete => "leavers-delete",
                Leavers::Release => "leavers-release",
            },
            preset: preset_key(scim.preset),
            users_by: match scim.profile.users {
                Update::Patch => "scim-by-patch",
                Update::Put => "scim-by-put",
            },
            groups_by: match scim.profile.groups {
                GroupUpdate::Change => "scim-by-change",
                GroupUpdate::Replace => "scim-by-replace",
                GroupUpdate::Put => "scim-by-put",
            },
            members_at_once: scim.profile.members_at_once,
            rate: scim.profile.rate,
            mapping: scim.effective_mapping(),
        }
    }
}

#[derive(Template)]
#[template(path = "provisioning.html")]
struct ProvisioningPage {
    page: Page,
    head: Head,
    application: Application,
    url: String,
    scim: Option<ByScim>,
    is_encrypted: bool,
    limits: Limits,
    jwks: String,
    outbound: Vec<String>,
    is_everything: bool,
    scope: Vec<InScope>,
    /// How many users are in scope.
    users: u64,
    events: [Events; 2],
}

pub(super) async fn provisioning(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ReadApplications)?;
    let application = view.application(id).await?;
    let sight = view.sight().await?;
    let (status, entitlements, users, names, serving) = {
        let application = application.clone();
        view.console
            .db()
            .read(move |tx| {
                let entitlements = Entitlements::load(tx, &application.id)?;
                let scope = &entitlements.current().scope;
                let users = extent::users_within(tx, &scope.organizational_unit_ids, &scope.group_ids)?;
                let units: Vec<String> = scope.organizational_unit_ids.iter().cloned().collect();
                let groups: Vec<String> = scope.group_ids.iter().cloned().collect();
                let names = (sight.paths(tx, &units)?, view::names(tx, &groups)?);
                let status = status::of(tx, application.clone())?;
                Ok::<_, DbError>((status, entitlements, users, names, instance::serving(tx)?))
            })
            .await?
    };
    let current = entitlements.current();
    let (paths, groups) = names;
    let in_scope = |ids: &BTreeSet<String>, kind, name: &dyn Fn(&String) -> String| {
        let mut all: Vec<_> = ids
            .iter()
            .map(|id| InScope {
                id: id.clone(),
                name: name(id),
                kind,
            })
            .collect();
        // Ids tell people nothing, neither does their order.
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    };
    let scope = &current.scope;
    let units = in_scope(&scope.organizational_unit_ids, "unit", &|id| {
        format!("/{}", paths.get(id).unwrap_or(id))
    });
    let groups = in_scope(&scope.group_ids, "group", &|id| {
        groups.get(id).unwrap_or(id).clone()
    });
    show(&ProvisioningPage {
        head: Head::of(&status, Tab::Provisioning, &view.page),
        url: without_query(application.settings.url()),
        scim: application.settings.scim().map(ByScim::of),
        is_encrypted: application.settings.encryption() == Encryption::Required,
        limits: application.settings.limits,
        jwks: jwks(&view, serving.as_ref(), &application.id),
        outbound: view.console.outbound(),
        is_everything: current.scope.is_everything(),
        scope: units.into_iter().chain(groups).collect(),
        users,
        events: events(|event| current.subscription.contains(event)),
        page: view.page,
        application,
    })
}

/// Where the application finds its public keys.
pub(super) fn jwks(view: &View, serving: Option<&Serving>, application_id: &str) -> String {
    instance::jwks_url(serving, &view.console.hub().instance.id, application_id)
}

/// The events that can be subscribed to, by what they are.
pub(super) fn events(is_subscribed: impl Fn(EventType) -> bool) -> [Events; 2] {
    let mut groups = ["events-incremental", "events-full"].map(|key| Events {
        key,
        events: Vec::new(),
    });
    for event in EventType::ALL.iter().filter(|event| event.is_subscribable()) {
        let is_push = event.short().ends_with(":push");
        let events = &mut groups[usize::from(is_push)].events;
        events.push((event.short(), is_subscribed(*event)));
    }
    groups
}
