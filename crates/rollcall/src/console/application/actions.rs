//! What can be done about an application: each a form that is posted, and leads back to a page that says it.

use axum::extract::{Form, Path};
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;

use crate::access::Caller;
use crate::access::Permission;
use crate::application::{Application, Command};
use crate::console::error::Failure;
use crate::console::page::{Answer, View, form_encoded};
use crate::delivery::ledger::operate;
use crate::delivery::{connectivity, job};

/// What a form brings along.
#[derive(Deserialize)]
pub(in crate::console) struct Sent {
    #[serde(default)]
    csrf: String,
    /// The event that is meant; all that are set aside, if none is named.
    #[serde(default)]
    event: String,
    /// The user that is meant.
    #[serde(default)]
    user: String,
}

/// Who acts on which application, once it is sure that they may.
struct Act {
    view: View,
    application: Application,
}

impl Act {
    async fn begin(view: View, id: String, sent: &Sent) -> Result<Self, Failure> {
        view.needs(Permission::OperateApplications)?;
        view.is_genuine(&sent.csrf)?;
        let application = view.application(id).await?;
        Ok(Self { view, application })
    }

    fn caller(&self) -> Caller {
        self.view.visitor.caller()
    }

    fn id(&self) -> String {
        self.application.id.clone()
    }

    /// Back to a tab, which says what was done.
    fn done(&self, tab: &str, what: &str, count: u64) -> Answer {
        let id = &self.application.id;
        let to = format!("/console/applications/{id}{tab}?done={what}&count={count}");
        Ok(Redirect::to(&to).into_response())
    }
}

type Id = Path<String>;

pub(in crate::console) async fn test(view: View, Path(id): Id, Form(sent): Form<Sent>) -> Answer {
    let act = Act::begin(view, id, &sent).await?;
    let console = &act.view.console;
    let report = connectivity::test(&console.api.shared, &act.application.id).await?;
    console.tests.keep(&act.application.id, console.now(), report);
    act.done("/test", "tested", 1)
}

pub(in crate::console) async fn synchronize(view: View, Path(id): Id, Form(sent): Form<Sent>) -> Answer {
    let act = Act::begin(view, id, &sent).await?;
    let id = act.id();
    let hub = act.view.console.hub();
    hub.write_as(act.caller(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await?;
    act.done("/synchronize", "synchronize", 1)
}

pub(in crate::console) async fn cancel(view: View, Path(id): Id, Form(sent): Form<Sent>) -> Answer {
    let act = Act::begin(view, id, &sent).await?;
    let id = act.id();
    let hub = act.view.console.hub();
    hub.write_as(act.caller(), move |tx, ctx| job::cancel(tx, ctx, &id))
        .await?;
    act.done("/synchronize", "cancel", 1)
}

pub(in crate::console) async fn pause(view: View, Path(id): Id, Form(sent): Form<Sent>) -> Answer {
    let act = Act::begin(view, id, &sent).await?;
    let command = Command::DisableSynchronization { id: act.id() };
    let hub = act.view.console.hub();
    hub.apply_application(act.caller(), command).await?;
    act.done("", "pause", 1)
}

pub(in crate::console) async fn resume(view: View, Path(id): Id, Form(sent): Form<Sent>) -> Answer {
    let act = Act::begin(view, id, &sent).await?;
    let id = act.id();
    let hub = act.view.console.hub();
    hub.write_as(act.caller(), move |tx, ctx| operate::resume(tx, ctx, &id))
        .await?;
    act.done("", "resume", 1)
}

pub(in crate::console) async fn resend(view: View, Path(id): Id, Form(sent): Form<Sent>) -> Answer {
    let act = Act::begin(view, id, &sent).await?;
    let id = act.id();
    let event = Some(sent.event).filter(|event| !event.is_empty());
    let hub = act.view.console.hub();
    let resent = hub
        .write_as(act.caller(), move |tx, ctx| {
            operate::resend(tx, ctx, &id, event.as_deref())
        })
        .await?;
    let count = resent.queued + resent.refreshed;
    act.done("/deliveries", "resend", u64::from(count))
}

pub(in crate::console) async fn dismiss(view: View, Path(id): Id, Form(sent): Form<Sent>) -> Answer {
    let act = Act::begin(view, id, &sent).await?;
    let id = act.id();
    let event = Some(sent.event).filter(|event| !event.is_empty());
    let hub = act.view.console.hub();
    let count = hub
        .write_as(act.caller(), move |tx, ctx| {
            operate::dismiss(tx, ctx, &id, event.as_deref())
        })
        .await?;
    act.done("/deliveries", "dismiss", u64::from(count))
}

pub(in crate::console) async fn skip(view: View, Path(id): Id, Form(sent): Form<Sent>) -> Answer {
    let act = Act::begin(view, id, &sent).await?;
    let id = act.id();
    let event = Some(sent.event).filter(|event| !event.is_empty());
    let hub = act.view.console.hub();
    hub.write_as(act.caller(), move |tx, ctx| {
        operate::skip(tx, ctx, &id, event.as_deref())
    })
    .await?;
    act.done("/deliveries", "skip", 1)
}

/// Pushes one user, and leads back to that user's page.
pub(in crate::console) async fn push(view: View, Path(id): Id, Form(sent): Form<Sent>) -> Answer {
    let act = Act::begin(view, id, &sent).await?;
    let (id, user) = (act.id(), sent.user);
    let back = format!("/console/users/{}/{id}?done=push&count=1", form_encoded(&user));
    let hub = act.view.console.hub();
    hub.write_as(act.caller(), move |tx, ctx| operate::push(tx, ctx, &id, &user))
        .await?;
    Ok(Redirect::to(&back).into_response())
}
