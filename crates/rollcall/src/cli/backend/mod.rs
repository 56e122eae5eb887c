//! Where a command works: on the database of the hub on this machine, or through the administrator's API of a hub
//! elsewhere.
//!
//! A command asks here for what it shows and has done here what it does, and gets the same types from both, so it is
//! written once. Both ways of each question stand side by side. What only a database can answer says so
//! ([`Backend::database`]).

mod access;
mod applications;
mod client;
mod comparisons;
mod connections;
mod deliveries;
mod developer;
mod directory;
mod logs;
mod receiving;
pub(super) mod transfer;

use std::time::Duration;

use anyhow::{Result, bail};
use rollcall_db::Dialect;
use rollcall_server::health::State;
use serde::Deserialize;

use super::failure::Refusal;
use super::open;
use crate::clock::Millis;
use crate::config::Config;
use crate::hub::Hub;
pub(super) use access::{AccountChange, Newcomer, WrittenRole};
pub(super) use applications::{Changed, Changes, New, Rescoped, Whole};
use client::Client;
pub(super) use client::{Refused, Remote, SAME_VERSION, refused};
pub(super) use comparisons::Repaired;
pub(super) use deliveries::{KeyStep, Look, Pushed};
pub(super) use directory::Erasable;
pub(super) use logs::Attempts;

/// Where a command works.
pub(super) enum Backend {
    /// On a database.
    Database(Box<Database>),
    /// At a hub elsewhere.
    Server(Client),
}

/// The database of a hub, and the configuration that names it.
pub(super) struct Database {
    pub(super) hub: Hub,
    pub(super) config: Config,
}

/// How a hub elsewhere is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wellbeing {
    pub(super) version: String,
    pub(super) instance_id: String,
    pub(super) parts: Vec<Part>,
}

/// How a part of it is.
#[derive(Deserialize)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) message: String,
    pub(super) action: Option<String>,
}

impl Backend {
    /// The database that a configuration names.
    pub(super) async fn open(config: Config) -> Result<Self> {
        let hub = open::hub(&config).await?;
        Ok(Self::Database(Box::new(Database { hub, config })))
    }

    /// The hub elsewhere that options name.
    pub(super) fn connect(remote: &Remote) -> Result<Self> {
        Ok(Self::Server(Client::new(remote)?))
    }

    /// The database, for what cannot be done through the API.
    pub(super) fn database(&self, command: &str) -> Result<&Database> {
        match self {
            Self::Database(database) => Ok(database),
            Self::Server(_) => bail!(database_only(command)),
        }
    }

    /// The time, where it was asked.
    pub(super) fn now(&self) -> Millis {
        match self {
            Self::Database(database) => database.hub.clock.now(),
            Self::Server(client) => client.clock.now(),
        }
    }

    /// Which database it is; `None` if only the hub knows.
    pub(super) fn dialect(&self) -> Option<Dialect> {
        match self {
            Self::Database(database) => Some(database.hub.db.dialect()),
            Self::Server(_) => None,
        }
    }

    /// How the hub elsewhere is.
    pub(super) async fn health(&self) -> Result<Wellbeing> {
        let Self::Server(client) = self else {
            bail!("the database does not know how the hub is");
        };
        client.get(&["health"]).answer().await
    }

    /// How often something that is followed is looked at.
    pub(super) fn look_every(&self) -> Duration {
        match self {
            Self::Database(_) => Duration::from_millis(50),
            // Each look is a few requests, of which there may be 100 in a second.
            Self::Server(_) => Duration::from_millis(300),
        }
    }

    /// Ends what is open.
    pub(super) async fn close(&self) {
        if let Self::Database(database) = self {
            database.hub.db.clone().close().await;
        }
    }
}

/// Of a command that the API has no route for: where it works instead.
pub(super) fn database_only(command: &str) -> Refusal {
    Refusal::of(
        "database_only",
        format!("rollcall {command} works on the hub's database, and not with --server (or ROLLCALL_SERVER)"),
        "run it on a machine that has the hub's configuration and reaches its database, without --server and with \
         ROLLCALL_SERVER unset",
    )
}
