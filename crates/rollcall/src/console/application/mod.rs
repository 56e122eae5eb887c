//! One application, a tab for each question about it.

pub(super) mod actions;
mod attempt;
mod deliveries;
mod keys;
mod provisioning;
mod receive;
mod synchronize;
mod test;

pub(super) use attempt::attempt;
pub(super) use deliveries::{deliveries, deliveries_live};
pub(super) use keys::keys;
pub(super) use provisioning::provisioning;
pub(super) use receive::receive;
pub(super) use synchronize::{jobs_live, synchronize};
pub(super) use test::test;

use super::health::Health;
use super::page::Page;
use crate::application::Application;
use crate::delivery::status::ApplicationStatus;

/// A tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tab {
    Provisioning,
    Test,
    Synchronize,
    Deliveries,
    Keys,
    Receive,
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
        let tabs = [
            (Tab::Provisioning, "tab-provisioning", "", 0),
            (Tab::Test, "tab-test", "/test", 0),
            (Tab::Synchronize, "tab-synchronize", "/synchronize", 0),
            (Tab::Deliveries, "tab-deliveries", "/deliveries", status.parked[2]),
            (Tab::Keys, "tab-keys", "/keys", u64::from(status.refuses_key)),
            (Tab::Receive, "tab-receive", "/receive", 0),
        ];
        Self {
            health: Health::of(status, page.now()),
            is_paused: !status.application.synchronize,
            tabs: tabs
                .into_iter()
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
