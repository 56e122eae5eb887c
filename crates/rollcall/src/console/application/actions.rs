//! What can be done about an application: each a form that is posted, and leads back to a page that says it.

use std::collections::BTreeSet;

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect};

use crate::access::{Caller, Permission};
use crate::api::encoded;
use crate::application::{Application, Command};
use crate::console::error::Failure;
use crate::console::form::{Filled, Posted};
use crate::console::page::{Answer, View};
use crate::delivery::connectivity::{self, Depth};
use crate::delivery::job;
use crate::delivery::ledger::operate::{self, Chosen};

/// Who acts on which application, once it is sure that they may.
struct Act {
    view: View,
    form: Filled,
    application: Application,
}

impl Act {
    async fn begin(posted: Posted, id: String) -> Result<Self, Failure> {
        let Posted { view, form } = posted;
        view.needs(Permission::OperateApplications)?;
        let application = view.application(id).await?;
        Ok(Self {
            view,
            form,
            application,
        })
    }

    fn caller(&self) -> Caller {
        self.view.visitor.caller()
    }

    fn id(&self) -> String {
        self.application.id.clone()
    }

    /// Which events are meant: those that are ticked, those since a time, or all.
    fn chosen(&self) -> Result<Chosen, Failure> {
        let refuse = |key: &str| Failure::Refused(self.view.page.t(key));
        let events: BTreeSet<String> = self.form.all("event").map(str::to_owned).collect();
        match self.form.value("which") {
            "since" => {
                let since = self.view.page.read_field(self.form.value("since"));
                since.map(Chosen::Since).ok_or_else(|| refuse("rule-time"))
            }
            "ticked" if events.is_empty() => Err(refuse("nothing-ticked")),
            _ if events.is_empty() => Ok(Chosen::All),
            _ => Ok(Chosen::Events(events)),
        }
    }

    /// Back to a tab, which says what was done.
    fn done(&self, tab: &str, what: &str, count: u64) -> Answer {
        let id = &self.application.id;
        let to = format!("/console/applications/{id}{tab}?done={what}&count={count}");
        Ok(Redirect::to(&to).into_response())
    }
}

type Id = Path<String>;

pub(super) async fn test(Path(id): Id, posted: Posted) -> Answer {
    let act = Act::begin(posted, id).await?;
    let console = &act.view.console;
    let depth = match act.form.is_on("probe") {
        true => Depth::TryingOut,
        false => Depth::Asking,
    };
    let report = connectivity::test_with(&console.api.shared, &act.application.id, depth).await?;
    console.tests.keep(&act.application.id, console.now(), report);
    act.done("/test", "tested", 1)
}

pub(super) async fn synchronize(Path(id): Id, posted: Posted) -> Answer {
    let act = Act::begin(posted, id).await?;
    let id = act.id();
    let hub = act.view.console.hub();
    hub.write_as(act.caller(), move |tx, ctx| job::request_full(tx, ctx, &id))
        .await?;
    act.done("/synchronize", "synchronize", 1)
}

pub(super) async fn cancel(Path(id): Id, posted: Posted) -> Answer {
    let act = Act::begin(posted, id).await?;
    let id = act.id();
    let hub = act.view.console.hub();
    hub.write_as(act.caller(), move |tx, ctx| job::cancel(tx, ctx, &id))
        .await?;
    act.done("/synchronize", "cancel", 1)
}

pub(super) async fn pause(Path(id): Id, posted: Posted) -> Answer {
    let act = Act::begin(posted, id).await?;
    let command = Command::DisableSynchronization { id: act.id() };
    let hub = act.view.console.hub();
    hub.apply_application(act.caller(), command).await?;
    act.done("", "pause", 1)
}

pub(super) async fn resume(Path(id): Id, posted: Posted) -> Answer {
    let act = Act::begin(posted, id).await?;
    let id = act.id();
    let hub = act.view.console.hub();
    hub.write_as(act.caller(), move |tx, ctx| operate::resume(tx, ctx, &id))
        .await?;
    act.done("", "resume", 1)
}

pub(super) async fn resend(Path(id): Id, posted: Posted) -> Answer {
    let act = Act::begin(posted, id).await?;
    let (id, chosen) = (act.id(), act.chosen()?);
    let hub = act.view.console.hub();
    let resent = hub
        .write_as(act.caller(), move |tx, ctx| {
            operate::resend(tx, ctx, &id, chosen.clone())
        })
        .await?;
    let count = resent.queued + resent.refreshed;
    act.done("/deliveries", "resend", u64::from(count))
}

pub(super) async fn dismiss(Path(id): Id, posted: Posted) -> Answer {
    let act = Act::begin(posted, id).await?;
    let (id, chosen) = (act.id(), act.chosen()?);
    let hub = act.view.console.hub();
    let count = hub
        .write_as(act.caller(), move |tx, ctx| {
            operate::dismiss(tx, ctx, &id, chosen.clone())
        })
        .await?;
    act.done("/deliveries", "dismiss", u64::from(count))
}

pub(super) async fn skip(Path(id): Id, posted: Posted) -> Answer {
    let act = Act::begin(posted, id).await?;
    let (id, event) = (act.id(), act.form.given("event"));
    let hub = act.view.console.hub();
    hub.write_as(act.caller(), move |tx, ctx| {
        operate::skip(tx, ctx, &id, event.as_deref())
    })
    .await?;
    act.done("/deliveries", "skip", 1)
}

/// Pushes one user, and leads back to that user's page.
pub(super) async fn push(Path(id): Id, posted: Posted) -> Answer {
    let act = Act::begin(posted, id).await?;
    let (id, user) = (act.id(), act.form.value("user").to_owned());
    let back = format!("/console/users/{}/{id}?done=push&count=1", encoded(&user));
    let hub = act.view.console.hub();
    hub.write_as(act.caller(), move |tx, ctx| operate::push(tx, ctx, &id, &user))
        .await?;
    Ok(Redirect::to(&back).into_response())
}
