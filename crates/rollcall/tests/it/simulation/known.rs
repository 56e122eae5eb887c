//! What administrators know: the people and things that commands are about, and what was said of them.

use std::collections::{BTreeMap, BTreeSet};

use rollcall::directory::Command;

/// The people and things that commands are about, also those that are gone.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) users: Vec<String>,
    /// The first one is what the application with a narrow scope sees.
    pub(super) units: Vec<String>,
    pub(super) groups: Vec<String>,
    /// What was said of each user, in words that stand for nobody else.
    words: BTreeMap<String, BTreeSet<String>>,
    /// The words about those who were erased.
    pub(super) erased: BTreeSet<String>,
}

impl Known {
    /// Remembers what a command says of a user, whether or not it is applied in the end.
    pub(super) fn hear(&mut self, command: &Command) {
        if let Command::UpdateUser { id, changes } = command {
            let said = [changes.username.clone(), changes.description.clone().flatten()];
            self.words
                .entry(id.clone())
                .or_default()
                .extend(said.into_iter().flatten());
        }
    }

    /// Takes note of a user who was made under a name.
    pub(super) fn add_user(&mut self, id: String, username: String) {
        self.words.entry(id.clone()).or_default().insert(username);
        self.users.push(id);
    }

    /// From now on nobody may know anything of the user.
    pub(super) fn erase(&mut self, id: &str) {
        self.erased
            .extend(self.words.get(id).cloned().unwrap_or_default());
    }
}

/// A text that is no part of another one with another number.
pub(super) fn word(what: &str, number: usize) -> String {
    format!("{what}{number}x")
}

/// The one of a list that a number means; nobody if the list is empty.
pub(super) fn pick(list: &[String], number: u64) -> Option<String> {
    let count = u64::try_from(list.len()).unwrap();
    (count > 0).then(|| list[usize::try_from(number % count).unwrap()].clone())
}
