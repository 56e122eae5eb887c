//! Applications as they are shown: with what they are told of, and how they stand.

use std::borrow::Cow;
use std::net::IpAddr;

use rollcall_db::{DbError, Tx};
use serde::{Deserialize, Serialize};

use super::scopes::Shown as ShownScope;
use crate::api::versions::Versioned;
use crate::application::written::Names;
use crate::application::{Application, Entitlements, Subscription};
use crate::change::Seq;
use crate::clock::Millis;
use crate::delivery::job::JobPosition;
use crate::delivery::ledger::attempts;
use crate::delivery::model::skips::Skips;
use crate::delivery::status::{self, ApplicationStatus};
use crate::directory::Sight;
use crate::instance::{self, Serving};
use crate::why::Failing;

/// How many events are parked for an application.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ParkedCounts {
    /// They are to be sent again.
    retrying: u64,
    /// They wait behind another event of their subject.
    held: u64,
    /// They are set aside as failed.
    pub(crate) failed: u64,
}

/// How an application stands.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Standing {
    /// `active`, `suspended` (it does not answer) or `paused` (somebody switched it off).
    pub(crate) state: Cow<'static, str>,
    /// Changes that it has not been told of.
    pub(crate) behind: Seq,
    /// The time of the oldest of them.
    behind_since: Option<Millis>,
    pub(crate) parked: ParkedCounts,
    /// Whether it refuses the signing key that is to take over.
    refuses_key: bool,
    /// The synchronization that is under way.
    synchronization: Option<JobPosition>,
    /// When everything was last pushed to it.
    synchronized_at: Option<Millis>,
    /// Whether there was ever a synchronization, however it ended.
    pub(crate) ever_synchronized: bool,
}

impl From<ApplicationStatus> for (Application, Standing) {
    fn from(status: ApplicationStatus) -> Self {
        let [retrying, held, failed] = status.parked;
        let standing = Standing {
            state: status.application.state().into(),
            behind: status.lag,
            behind_since: status.oldest,
            parked: ParkedCounts {
                retrying,
                held,
                failed,
            },
            refuses_key: status.refuses_key,
            synchronization: status.job,
            synchronized_at: status.synchronized_at,
            ever_synchronized: status.ever_synchronized,
        };
        (status.application, standing)
    }
}

/// An application in the list.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ListedApplication")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed {
    #[serde(flatten)]
    pub(crate) application: Application,
    pub(crate) standing: Standing,
    pub(crate) scope: ShownScope,
    pub(crate) subscription: Subscription,
}

impl Listed {
    /// Applications of which it is known how they stand; those that went meanwhile are left out.
    pub(crate) fn of_each(
        tx: &mut Tx<'_>,
        sight: &Sight,
        statuses: Vec<ApplicationStatus>,
    ) -> Result<Vec<Self>, DbError> {
        let ids: Vec<String> = statuses.iter().map(|it| it.application.id.clone()).collect();
        let entitlements = Entitlements::of_each(tx, &ids)?;
        let names = Names::seen(tx, sight, entitlements.values().map(|it| &it.current().scope))?;
        let listed = statuses.into_iter().filter_map(|status| {
            let current = entitlements.get(&status.application.id)?.current().clone();
            let (application, standing) = status.into();
            Some(Self {
                application,
                standing,
                scope: ShownScope::named(&names, current.scope),
                subscription: current.subscription,
            })
        });
        Ok(listed.collect())
    }
}

/// How many of the newest requests are looked through for events that were skipped.
pub(crate) const LATELY: usize = 200;

/// An application with all that belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "DetailedApplication")]
#[serde(rename_all = "camelCase")]
pub(crate) struct Detailed {
    #[serde(flatten)]
    pub(crate) application: Application,
    pub(crate) standing: Standing,
    pub(crate) scope: ShownScope,
    pub(crate) subscription: Subscription,
    /// Where it finds its public keys.
    pub(crate) jwks_url: String,
    /// The addresses from which requests to it leave, if they are configured.
    #[schemars(with = "Vec<String>")]
    pub(crate) outbound_addresses: Vec<IpAddr>,
    /// How it fails at the moment; `None` if its newest request was answered, or if it is suspended.
    pub(crate) failing: Option<Failing>,
    /// Of the newest requests, what it passed over, by type of event.
    pub(crate) skipped_lately: Skips,
    /// What should be known besides.
    pub(crate) notes: Vec<String>,
}

impl Detailed {
    /// An application as the hub that was started last sees it.
    pub(crate) fn of(
        tx: &mut Tx<'_>,
        sight: &Sight,
        instance: &str,
        application: Application,
    ) -> Result<Self, DbError> {
        let serving = instance::serving(tx)?;
        let id = application.id.clone();
        let newest = attempts::newest(tx, &id, 0, LATELY)?;
        let failing = Failing::among(&application, &newest);
        let current = Entitlements::load(tx, &id)?.current().clone();
        let is_signed = application.settings.mode.name().is_signed();
        let (application, standing) = status::of(tx, application)?.into();
        Ok(Self {
            application,
            standing,
            scope: ShownScope::of(tx, sight, current.scope)?,
            subscription: current.subscription,
            jwks_url: instance::jwks_url(serving.as_ref(), instance, &id),
            failing,
            skipped_lately: attempts::skipped(newest),
            notes: serving
                .iter()
                .filter(|_| is_signed)
                .filter_map(Serving::note)
                .collect(),
            outbound_addresses: serving.map(|it| it.outbound_addresses).unwrap_or_default(),
        })
    }
}

impl Versioned for Detailed {
    fn version(&self) -> String {
        self.application.version()
    }
}
