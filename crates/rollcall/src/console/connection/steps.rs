//! What to enter at the other end of a connection, step by step, with the connection's own values.

use crate::clock::Millis;
use crate::connection::Connection;

/// A step: what to do, and what to enter as it is.
pub(super) struct Step {
    pub(super) key: &'static str,
    pub(super) value: Option<String>,
}

/// The steps at each identity provider.
pub(super) struct Steps {
    pub(super) okta: Vec<Step>,
    pub(super) entra: Vec<Step>,
    pub(super) others: Vec<Step>,
    /// How the token begins that is to be entered: the newest one that is good.
    pub(super) token: Option<String>,
}

fn say(key: &'static str) -> Step {
    Step { key, value: None }
}

fn enter(key: &'static str, value: &str) -> Step {
    let value = Some(value.to_owned());
    Step { key, value }
}

impl Steps {
    pub(super) fn of(connection: &Connection, address: &str, now: Millis) -> Self {
        let mut good = connection.tokens.iter().filter(|token| token.is_good(now));
        Self {
            okta: vec![
                say("okta-application"),
                enter("okta-address", address),
                enter("okta-identifier", "userName"),
                say("okta-actions"),
                say("okta-token"),
                say("okta-test"),
            ],
            entra: vec![
                say("entra-application"),
                enter("entra-address", address),
                say("entra-token"),
                say("entra-mappings"),
                say("entra-start"),
            ],
            others: vec![
                enter("other-address", address),
                say("other-token"),
                say("other-extent"),
            ],
            token: good.next_back().map(|token| token.prefix.clone()),
        }
    }
}
