//! How patient delivery is.

use std::time::Duration;

use super::ledger::leases::Policy;
use super::signing::Place;

/// How patient delivery is.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often a request is sent before its application is suspended: once and five times again.
    pub tries: u32,
    /// How often an event that the application wants again is sent before it is set aside.
    pub event_tries: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause between tries.
    pub longest_pause: Duration,
    /// The longest pause that an application can ask for (`Retry-After`).
    pub longest_retry_after: Duration,
    /// The pause before a suspended application is first asked again; it doubles too.
    pub first_probe: Duration,
    /// The longest pause before a suspended application is asked again.
    pub longest_probe: Duration,
    /// The pause before a new signing key that was not accepted is tried again; it doubles too.
    pub first_trial_pause: Duration,
    /// The longest pause before a new signing key is tried again.
    pub longest_trial_pause: Duration,
    /// How often the log is looked at for what other processes committed.
    pub poll: Duration,
    /// How often an idle worker stores its cursor.
    pub idle: Duration,
    /// The pause before trying again when the database fails.
    pub database_pause: Duration,
    /// After how long without a sign of life another node takes over what this one delivers.
    pub lease: Duration,
    /// Who else may deliver from this database, unless `owns_file` says so.
    pub policy: Policy,
    /// Whether a database that is a file belongs to this process alone ([`Policy::Sole`]). A simulation of several
    /// nodes lets them share one.
    pub owns_file: bool,
    /// What this node is called for people.
    pub node_name: String,
    /// Where signatures are made.
    pub signing: Place,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tries: 6,
            event_tries: 5,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            longest_retry_after: Duration::from_secs(300),
            first_probe: Duration::from_secs(30),
            longest_probe: Duration::from_secs(900),
            first_trial_pause: Duration::from_secs(600),
            longest_trial_pause: Duration::from_secs(6 * 3_600),
            poll: Duration::from_millis(200),
            idle: Duration::from_secs(5),
            database_pause: Duration::from_secs(1),
            lease: Duration::from_secs(15),
            policy: Policy::Shared,
            owns_file: true,
            node_name: format!("process {}", std::process::id()),
            signing: Place::Threads,
        }
    }
}
