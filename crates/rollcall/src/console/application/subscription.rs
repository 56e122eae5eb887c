//! The events that an application is sent, and what a change of them would do.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::Path;
use rollcall_protocol::EventType;

use super::entitlement;
use super::meanwhile::{Meanwhile, meanwhile};
use super::provisioning::{Events, events};
use crate::access::Permission;
use crate::application::command::plan_subscription;
use crate::application::{Application, ApplicationError, Command, Edit, Subscription};
use crate::console::form::{Filled, Posted, again, done};
use crate::console::page::{Answer, Page, Section, View, show};

/// The events that fields of this name have.
fn read(form: &Filled, name: &str) -> BTreeSet<EventType> {
    let events = form.all(name).filter_map(EventType::parse);
    events.filter(|event| event.is_subscribable()).collect()
}

/// What was ticked and unticked: whatever else another changes meanwhile stays.
fn edit(form: &Filled) -> Edit<EventType> {
    let (is, was) = (read(form, "event"), read(form, "earlier"));
    Edit::Change {
        add: is.difference(&was).copied().collect(),
        remove: was.difference(&is).copied().collect(),
    }
}

#[derive(Template)]
#[template(path = "subscription_form.html")]
struct SubscriptionFormPage {
    page: Page,
    form: Filled,
    id: String,
    name: String,
    meanwhile: Vec<Meanwhile>,
    earlier: Vec<&'static str>,
    events: [Events; 2],
    test: &'static str,
    inventory: &'static str,
}

impl SubscriptionFormPage {
    fn of(
        page: Page,
        mut form: Filled,
        application: Application,
        was: &Subscription,
        is: &BTreeSet<EventType>,
        meanwhile: Vec<Meanwhile>,
    ) -> Self {
        form.put("version", application.update_time.to_string());
        Self {
            page,
            form,
            id: application.id,
            name: application.name,
            meanwhile,
            earlier: was.events().map(EventType::short).collect(),
            events: events(|event| is.contains(&event)),
            test: EventType::Test.short(),
            inventory: EventType::Inventory.short(),
        }
    }
}

#[derive(Template)]
#[template(path = "subscription_plan.html")]
struct SubscriptionPlanPage {
    page: Page,
    form: Filled,
    id: String,
    name: String,
    token: String,
    added: Vec<&'static str>,
    removed: Vec<&'static str>,
    /// Whether nothing is sent any more.
    is_nothing: bool,
}

pub(super) async fn form(view: View, Path(id): Path<String>) -> Answer {
    let view = view.within(Section::Applications);
    view.needs(Permission::ConfigureApplications)?;
    let application = view.application(id).await?;
    let was = entitlement(&view, &application).await?.subscription;
    let is = was.events().collect();
    show(&SubscriptionFormPage::of(
        view.page,
        Filled::default(),
        application,
        &was,
        &is,
        Vec::new(),
    ))
}

pub(super) async fn change(Path(id): Path<String>, mut posted: Posted) -> Answer {
    posted.view = posted.view.within(Section::Applications);
    posted.view.needs(Permission::ConfigureApplications)?;
    let caller = posted.caller();
    let Posted { view, mut form } = posted;
    let application = view.application(id).await?;
    let was = entitlement(&view, &application).await?.subscription;
    let wanted = edit(&form);
    let ticked = match form.value("do") {
        "all" => Some(Subscription::everything().events().collect()),
        "none" => Some(BTreeSet::new()),
        "plan" | "confirm" => None,
        _ => Some(read(&form, "event")),
    };
    if let Some(ticked) = ticked {
        let earlier = Subscription::of(read(&form, "earlier"));
        let page = SubscriptionFormPage::of(view.page, form, application, &earlier, &ticked, Vec::new());
        return show(&page);
    }
    if let Some(version) = form
        .version()
        .filter(|version| *version != application.update_time)
    {
        let changes = meanwhile(&view, &application.id, version).await?;
        let is = wanted.applied_to(&was.events().collect());
        form.warn(view.page.t("scope-changed-meanwhile"));
        let page = SubscriptionFormPage::of(view.page, form, application, &was, &is, changes);
        return again(&page);
    }
    if let Some(token) = form.given("token").filter(|_| form.is("do", "confirm")) {
        let command = Command::SetSubscription {
            id: application.id.clone(),
            events: wanted.clone(),
            confirmed: Some(token),
        };
        match view.console.hub().apply_application(caller, command).await {
            Ok(_) => {
                let to = format!("/console/applications/{}", application.id);
                return done(&to, "subscription");
            }
            Err(ApplicationError::PlanChanged) => form.warn(view.page.t("plan-changed")),
            Err(error) => return Err(error.into()),
        }
    }
    let (of, planned) = (application.id.clone(), wanted.clone());
    let plan = view
        .console
        .db()
        .read(move |tx| plan_subscription(tx, &of, &planned))
        .await?;
    let beyond = |of: &Subscription, other: &Subscription| {
        let events = of.events().filter(|event| !other.contains(*event));
        events.map(EventType::short).collect::<Vec<_>>()
    };
    let (added, removed) = (
        beyond(&plan.after, &plan.before),
        beyond(&plan.before, &plan.after),
    );
    if added.is_empty() && removed.is_empty() {
        form.warn(view.page.t("subscription-unchanged"));
        let is = plan.after.events().collect();
        return again(&SubscriptionFormPage::of(
            view.page,
            form,
            application,
            &was,
            &is,
            Vec::new(),
        ));
    }
    show(&SubscriptionPlanPage {
        page: view.page,
        form,
        id: application.id,
        name: application.name,
        token: plan.token,
        is_nothing: plan.after.events().next().is_none(),
        added,
        removed,
    })
}
