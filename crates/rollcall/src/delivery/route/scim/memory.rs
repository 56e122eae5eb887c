//! What is known of objects at the application while requests are on their way.
//!
//! What is remembered stands in the database, written with the settlement of the request. A request is not kept
//! waiting for the settlement before it, so what was learned since is kept here, until the database has it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest as sha256};
use rollcall_protocol::SubjectKind;
use rollcall_scim::Object;
use rollcall_scim::client::Known;
use serde_json::Value;

use crate::delivery::model::{DIGEST_BYTES, Digest, Remembered, Remote};

/// A user or a group.
pub type Key = (SubjectKind, String);

/// What was learned and may not be stored yet. The lanes of an application share it.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<Key, Option<Remote>>>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Option<Remote>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of an object, if something was learned since `stored` was read.
    pub fn over(&self, key: &Key, stored: Option<Remote>) -> Option<Remote> {
        self.lock().get(key).cloned().unwrap_or(stored)
    }

    /// Who is known by an id of the application's, of those about whom something was learned.
    pub fn holder(&self, kind: SubjectKind, id: &str) -> Option<String> {
        let holds = |remote: &Option<Remote>| remote.as_ref().is_some_and(|remote| remote.id == id);
        let learned = self.lock();
        let mut holders = learned
            .iter()
            .filter(|((other, _), remote)| *other == kind && holds(remote));
        holders.next().map(|((_, subject), _)| subject.clone())
    }

    /// Whether anything was learned of an object.
    pub fn knows(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    /// Takes what was learned.
    pub fn learn(&self, key: Key, remote: Option<Remote>) {
        self.lock().insert(key, remote);
    }

    /// What was learned of these objects, to be settled with the request that is about them.
    pub fn learned<'k>(&self, keys: impl IntoIterator<Item = &'k Key>) -> Vec<Remembered> {
        let learned = self.lock();
        keys.into_iter()
            .filter_map(|key| {
                Some(Remembered {
                    kind: key.0,
                    subject_id: key.1.clone(),
                    remote: learned.get(key)?.clone(),
                })
            })
            .collect()
    }

    /// Everybody about whom something was learned, if they are more than so many.
    pub fn if_more_than(&self, many: usize) -> Option<Vec<Key>> {
        let learned = self.lock();
        (learned.len() > many).then(|| learned.keys().cloned().collect())
    }

    /// Lets go of what the database has of those who were asked for, as it was read since.
    pub fn let_go(&self, asked: &[Key], stored: &HashMap<Key, Remote>) {
        let mut learned = self.lock();
        for key in asked {
            if learned
                .get(key)
                .is_some_and(|remote| remote.as_ref() == stored.get(key))
            {
                learned.remove(key);
            }
        }
    }
}

/// What the client may assume of an object: as what it was before the events is what it is there, if that has the digest
/// of what was told last. That alone is proof. What is wanted now may have that digest too while the application has
/// something else: an event in between was carried out, and its answer or its settlement was lost.
pub fn known(remote: Remote, before: Option<&Object>) -> Known {
    let last = before.filter(|before| remote.told.is_some_and(|told| told == digest(before)));
    Known {
        id: remote.id,
        last: last.cloned(),
        etag: remote.etag,
        disabled: remote.left,
    }
}

/// What is remembered of what the client knows.
pub fn remote(known: Known) -> Remote {
    Remote {
        told: known.last.as_ref().map(digest),
        id: known.id,
        etag: known.etag,
        left: known.disabled,
        members_in_doubt: false,
    }
}

/// A digest of a resource, whatever the order of its members.
pub fn digest(resource: &Object) -> Digest {
    let mut text = String::new();
    write_object(resource, &mut text);
    let mut bytes = [0; DIGEST_BYTES];
    bytes.copy_from_slice(sha256(&SHA256, text.as_bytes()).as_ref());
    bytes
}

fn write_object(object: &Object, text: &mut String) {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_unstable_by_key(|(name, _)| name.as_str());
    text.push('{');
    for (name, value) in members {
        text.push_str(&Value::from(name.as_str()).to_string());
        text.push(':');
        write(value, text);
        text.push(',');
    }
    text.push('}');
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => write_object(object, text),
        Value::Array(values) => {
            text.push('[');
            for value in values {
                write(value, text);
                text.push(',');
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}
