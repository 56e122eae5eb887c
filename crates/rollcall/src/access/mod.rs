//! Who acts, how far that reaches, and from where: what the doors for writes
//! (`directory::apply`, `application::apply`, `accounts::apply`, `connection::apply`) ask of whoever comes in.
//!
//! A [`Caller`] is put together at the edge (a command line, a request, an import, a chore of the hub's
//! own) and never inside. The doors do three things with it:
//!
//! - **Authority.** [`Authority::Everything`] costs nothing. With [`Authority::Scope`], what is outside
//!   answers as if it did not exist, and a write after which its subject would be outside is refused as
//!   leaving the scope. Both are judged inside the transaction, by the subject's placement before and
//!   after the write, so no change between a check and a write can open a gap. With [`Authority::Owned`],
//!   users and groups of another source answer so.
//! - **Version.** A caller that decided by what it has read may say which version that was: the
//!   `updateTime` of the subject or the application, which the doors let grow with every write, even
//!   within one millisecond. Whoever names none changes just the fields that it names, and the last
//!   write of a field counts.
//! - **Trace.** The principal's text stands in the change log and in the audit log, and so does the
//!   origin.
//!
//! What somebody may do at all is a matter of the [`Role`] of an account or a token: it is asked for a
//! [`Permission`] at the edge, before there is a command. `accounts` keeps both, `signin` tells who is there.

mod permission;
mod rate;
mod role;

use std::collections::BTreeSet;

use rollcall_protocol::{Random, SubjectKind};

use crate::clock::Millis;
use crate::once::Once;
use crate::placement::Placement;
use crate::secret::MasterKey;
pub use permission::Permission;
pub use rate::RateLimit;
pub use role::{Role, RoleName};

/// Who acts. Its text, such as `import:people.csv`, is stored in the logs and stays the same for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// An administrator at the hub's own command line, by the name of the account in the operating system.
    Administrator {
        /// The account's name.
        name: String,
    },
    /// Somebody who has signed in.
    Account {
        /// `acc_…`.
        id: String,
    },
    /// The holder of a token of the administrator's API.
    Token {
        /// The token's id; never the token.
        id: String,
    },
    /// An application that writes by its own credentials.
    Application {
        /// `app_…`.
        id: String,
    },
    /// A connection from another directory.
    Connection {
        /// The connection's id.
        id: String,
    },
    /// An import.
    Import {
        /// The file's name.
        source: String,
    },
    /// The hub itself.
    System {
        /// Which of its chores.
        what: &'static str,
    },
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Administrator { name } => write!(f, "administrator:{name}"),
            Self::Account { id } => write!(f, "account:{id}"),
            Self::Token { id } => write!(f, "token:{id}"),
            Self::Application { id } => write!(f, "application:{id}"),
            Self::Connection { id } => write!(f, "connection:{id}"),
            Self::Import { source } => write!(f, "import:{source}"),
            Self::System { what } => write!(f, "system:{what}"),
        }
    }
}

/// From where somebody acts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// From inside the hub.
    #[default]
    Internal,
    /// From the command line.
    CommandLine,
    /// From the HTTP API.
    Api {
        /// The request's id (`X-Request-Id`).
        request_id: String,
        /// The client's address, also where it comes through a trusted proxy.
        address: Option<std::net::IpAddr>,
    },
}

impl Origin {
    /// The text that is stored; `None` for what comes from inside.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Internal => None,
            Self::CommandLine => Some("cli".to_owned()),
            Self::Api {
                request_id,
                address: Some(address),
            } => Some(format!("api {request_id} {address}")),
            Self::Api {
                request_id,
                address: None,
            } => Some(format!("api {request_id}")),
        }
    }
}

/// How far somebody's acts reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authority {
    /// To everything.
    #[default]
    Everything,
    /// To what stands in these units, at any depth, or in these groups.
    Scope {
        /// Ids of organizational units.
        units: BTreeSet<String>,
        /// Ids of groups.
        groups: BTreeSet<String>,
    },
    /// To users and groups of one source, wherever they stand: what a connection has made or taken over.
    Owned {
        /// The source's type.
        source_type: String,
        /// Which one.
        source_id: String,
    },
}

impl Authority {
    /// Whether nothing is outside of it, without looking at anything.
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::Everything)
    }

    /// Whether a subject of this kind that stands there is inside (see [`Placement::is_within`]). Where something
    /// stands says nothing of whose it is, so nothing is inside of what is owned: the directory's door looks at that
    /// by itself.
    pub fn covers(&self, kind: SubjectKind, placement: &Placement) -> bool {
        match self {
            Self::Everything => true,
            Self::Scope { units, groups } => placement.is_within(kind, units, groups),
            Self::Owned { .. } => false,
        }
    }
}

/// Who acts, how far that reaches, from where, and on the ground of which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// How far.
    pub authority: Authority,
    /// From where.
    pub origin: Origin,
    /// The version that the caller has read of what it changes; `None` if it names none.
    pub expected: Option<Version>,
    /// The key under which this is done once, however often it is asked for.
    pub once: Option<Once>,
}

/// A version of a subject or an application: its `updateTime`.
pub type Version = Millis;

impl Caller {
    /// The hub itself.
    pub fn system(what: &'static str) -> Self {
        Principal::System { what }.into()
    }

    /// The same caller, if it reaches no further than this.
    #[must_use]
    pub fn within(self, authority: Authority) -> Self {
        Self { authority, ..self }
    }

    /// The same caller, if what it changes still has this version.
    #[must_use]
    pub fn expecting(self, version: Version) -> Self {
        Self {
            expected: Some(version),
            ..self
        }
    }

    /// The same caller, coming from there.
    #[must_use]
    pub fn from_there(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }
}

impl From<Principal> for Caller {
    /// Somebody whom nothing is closed to.
    fn from(principal: Principal) -> Self {
        Self {
            principal,
            authority: Authority::Everything,
            origin: Origin::Internal,
            expected: None,
            once: None,
        }
    }
}

/// What a door needs besides the command.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Who acts.
    pub caller: &'a Caller,
    /// Now.
    pub now: Millis,
    /// The hub's instance id, which is in the records of what is made in the hub itself.
    pub instance_id: &'a str,
    /// For new ids and keys.
    pub random: &'a dyn Random,
    /// The key under which secrets are stored.
    pub master: &'a MasterKey,
    /// Whether some application wants new passwords. Otherwise none is kept.
    pub keep_passwords: bool,
}

impl Context<'_> {
    /// The version after a write of something that had this version: the time, but always a later one.
    pub fn next_version(&self, before: Version) -> Version {
        self.now.max(before + 1)
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("caller", &self.caller)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_in_the_logs_stay_as_they_are() {
        let name = || "x".to_owned();
        for (principal, text) in [
            (Principal::Administrator { name: name() }, "administrator:x"),
            (Principal::Account { id: name() }, "account:x"),
            (Principal::Token { id: name() }, "token:x"),
            (Principal::Application { id: name() }, "application:x"),
            (Principal::Connection { id: name() }, "connection:x"),
            (Principal::Import { source: name() }, "import:x"),
            (Principal::System { what: "expiry" }, "system:expiry"),
        ] {
            assert_eq!(principal.to_string(), text);
        }
        assert_eq!(Origin::Internal.text(), None);
        assert_eq!(Origin::CommandLine.text().as_deref(), Some("cli"));
        let address = "192.0.2.7".parse().ok();
        let request_id = "req_1".to_owned();
        let api = Origin::Api { request_id, address };
        assert_eq!(api.text().as_deref(), Some("api req_1 192.0.2.7"));
    }
}
