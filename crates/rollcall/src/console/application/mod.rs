//! One application, a tab for each question about it.

mod actions;
mod attempt;
mod comparison;
mod deletion;
mod deliveries;
mod developer;
mod invitation;
mod keys;
mod meanwhile;
mod provisioning;
mod receive;
mod refusal;
mod scim;
mod scope;
mod settings;
mod subscription;
mod synchronize;
mod test;
mod tree;

use std::sync::Arc;

use axum::response::Response;
use axum::routing::{get, post};

use super::addresses::Addresses;
use super::applications;
use super::error::Failure;
use super::health::Health;
use super::page::{Page, View};
use super::{Console, live};
use crate::access::Permission;
use crate::application::{Application, Entitlement, Entitlements};
use crate::delivery::status::ApplicationStatus;

/// The pages of applications.
pub(super) fn routes() -> Addresses {
    let one = "/console/applications/{id}";
    let on = |tab: &str| format!("{one}/{tab}");
    Addresses::default()
        .route("/console/applications", get(applications::list))
        .route(
            "/console/applications/new",
            get(settings::new).post(settings::create),
        )
        .route(
            "/console/applications/new/scim",
            get(scim::new).post(scim::create),
        )
        .route(one, get(provisioning::provisioning))
        .route(&on("settings"), get(settings::edit).post(settings::update))
        .route(&on("scim"), get(scim::edit).post(scim::update))
        .route(&on("callback"), get(scim::callback).post(scim::set_callback))
        .route(
            &on("encryption"),
            get(settings::encryption).post(settings::set_encryption),
        )
        .route(&on("scope"), get(scope::form).post(scope::change))
        .route(&on("scope/count"), post(scope::count))
        .route(
            &on("subscription"),
            get(subscription::form).post(subscription::change),
        )
        .route(&on("test"), get(test::test).post(actions::test))
        .route(&on("test/apply"), post(test::take_over))
        .route(
            &on("synchronize"),
            get(synchronize::synchronize).post(actions::synchronize),
        )
        .route(
            &on("comparison"),
            get(comparison::show_page).post(comparison::start),
        )
        .route(&on("comparison/cancel"), post(comparison::cancel))
        .route(&on("comparison/repair"), post(comparison::repair))
        .route(&on("live/comparison"), get(comparison::live_state))
        .route(&on("deliveries"), get(deliveries::deliveries))
        .route(&on("deliveries/{number}"), get(attempt::attempt))
        .route(&on("delete"), get(deletion::form).post(deletion::delete))
        .route(&on("keys"), get(keys::keys).post(keys::rotate))
        .route(
            &on("developer-api"),
            get(developer::developer).post(developer::update),
        )
        .route(
            &on("client-secrets/new"),
            get(developer::new_secret).post(developer::create_secret),
        )
        .route(
            &on("client-secrets/{secret}/revoke"),
            get(developer::revoke_page).post(developer::revoke),
        )
        .route(&on("receive"), get(receive::receive))
        .route(&on("receive/{file}"), get(receive::file))
        .route(&on("invite"), get(invitation::form).post(invitation::invite))
        .route(&on("live/jobs"), get(synchronize::jobs_live))
        .route(&on("live/deliveries"), get(deliveries::deliveries_live))
        .route(&on("cancel"), post(actions::cancel))
        .route(&on("pause"), post(actions::pause))
        .route(&on("resume"), post(actions::resume))
        .route(&on("resend"), post(actions::resend))
        .route(&on("dismiss"), post(actions::dismiss))
        .route(&on("skip"), post(actions::skip))
        .route(&on("push"), post(actions::push))
}

/// Follows a part of an application's page: `render` is given the page as of then, and the application's id.
async fn follow<F, T>(console: Arc<Console>, view: View, id: String, render: F) -> Result<Response, Failure>
where
    F: Fn(Arc<Console>, Page, String) -> T + Send + 'static,
    T: Future<Output = Result<String, Failure>> + Send,
{
    view.needs(Permission::ReadDeliveries)?;
    let Application { id, .. } = view.application(id).await?;
    let page = view.page;
    Ok(live::follow(console, move |console| {
        let page = page.at(console.now());
        render(console, page, id.clone())
    }))
}

/// What an application is told now.
async fn entitlement(view: &View, application: &Application) -> Result<Entitlement, Failure> {
    let id = application.id.clone();
    let load = view.console.db().read(move |tx| Entitlements::load(tx, &id));
    Ok(load.await?.current().clone())
}

/// A tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tab {
    Provisioning,
    Test,
    Synchronize,
    Comparison,
    Deliveries,
    Keys,
    Receive,
    Developer,
}

/// A tab as it is shown.
struct ShownTab {
    key: &'static str,
    address: String,
    is_here: bool,
    count: u64,
}

/// What stands above every tab.
struct Head {
    id: String,
    name: String,
    health: Health,
    is_paused: bool,
    tabs: Vec<ShownTab>,
}

impl Head {
    fn of(status: &ApplicationStatus, here: Tab, page: &Page) -> Self {
        let Application { id, name, .. } = &status.application;
        let is_scim = status.application.settings.scim().is_some();
        let tabs = [
            (Tab::Provisioning, "tab-provisioning", "", 0),
            (Tab::Test, "tab-test", "/test", 0),
            (Tab::Synchronize, "tab-synchronize", "/synchronize", 0),
            (Tab::Comparison, "tab-comparison", "/comparison", 0),
            (Tab::Deliveries, "tab-deliveries", "/deliveries", status.parked[2]),
            (Tab::Keys, "tab-keys", "/keys", u64::from(status.refuses_key)),
            (Tab::Receive, "tab-receive", "/receive", 0),
            (Tab::Developer, "tab-developer", "/developer-api", 0),
        ];
        Self {
            health: Health::of(status, page.now()),
            is_paused: !status.application.synchronize,
            tabs: tabs
                .into_iter()
                // Of what is not signed, there is nothing to verify; what takes events cannot be asked what it has.
                .filter(|(tab, ..)| match tab {
                    Tab::Keys | Tab::Receive => !is_scim,
                    Tab::Comparison => is_scim,
                    Tab::Provisioning | Tab::Test | Tab::Synchronize | Tab::Deliveries | Tab::Developer => {
                        true
                    }
                })
                .map(|(tab, key, path, count)| ShownTab {
                    key,
                    address: format!("/console/applications/{id}{path}"),
                    is_here: tab == here,
                    count,
                })
                .collect(),
            id: id.clone(),
            name: name.clone(),
        }
    }
}
