//! Showing one subject: as a transaction finds it, or from memory where that is known to be the same.
//!
//! An answer from memory has three steps, and each is made on the spot: the database tells its version
//! ([`Hall::version`]); in that version it is known what the token may do, and what was answered ([`Hall::known`]). If
//! one of them fails, [`Desk::show`] does what is missing.

use std::sync::Arc;

use bytes::Bytes;
use rollcall_db::{NoVersion, Tx, Version};
use rollcall_protocol::SubjectKind;
use serde::Serialize;

use super::token::Token;
use super::{Access, Desk, Hall, Need, Refusal, Who};
use crate::change;
use crate::clock::Millis;

/// How a kind of subject is shown. What is shown hangs on nothing but the instance, the subject's kind and id, the
/// directory, and how far who calls reaches.
#[derive(Debug)]
pub struct Showing<T> {
    /// What the caller needs.
    pub need: Need,
    /// The kind.
    pub kind: SubjectKind,
    /// What reads a subject; it gets the ids of the instance and of the subject.
    pub read: fn(&mut Tx<'_>, &Access, &str, &str) -> Result<T, Refusal>,
}

/// What is known of an answer without reading it.
#[derive(Debug)]
pub enum Known {
    /// It.
    Shown(Bytes),
    /// That the caller may ask; the answer is worth keeping.
    NotShown,
    /// Nothing in the version that is there now.
    NotInThisVersion,
    /// Nothing, and nothing can be kept.
    Nothing,
}

impl Hall {
    /// In which version the database is now.
    ///
    /// # Errors
    /// [`NoVersion`].
    pub async fn version(&self) -> Result<Version, NoVersion> {
        self.hub.db.version().await
    }

    /// What is known in a version of what a call is answered that shows a subject, of whoever shows this token now.
    ///
    /// # Errors
    /// [`Refusal`], if the caller may not ask.
    pub fn known<T>(
        &self,
        version: Result<Version, NoVersion>,
        (token, now): (&Token, Millis),
        showing: &Showing<T>,
        id: &str,
    ) -> Result<Known, Refusal> {
        match version {
            Ok(version) => match token.access(version, now) {
                Some(access) => self.known_to(version, &access, showing, id),
                None => Ok(Known::NotInThisVersion),
            },
            Err(NoVersion::Away) => Ok(Known::NotInThisVersion),
            Err(NoVersion::Never) => Ok(Known::Nothing),
        }
    }

    /// The same, if in that version the caller may do this.
    fn known_to<T>(
        &self,
        version: Version,
        access: &Access,
        showing: &Showing<T>,
        id: &str,
    ) -> Result<Known, Refusal> {
        access.check(showing.need)?;
        let body = self.kept.get(version, &access.reach(), showing.kind, id);
        Ok(body.map_or(Known::NotShown, Known::Shown))
    }
}

impl Desk {
    /// Reads a subject.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn get<T: Send + 'static>(
        &self,
        showing: &'static Showing<T>,
        id: String,
    ) -> Result<T, Refusal> {
        let instance = self.hub().instance.id.clone();
        self.read(showing.need, move |tx, access| {
            (showing.read)(tx, access, &instance, &id)
        })
        .await
    }

    /// Shows a subject, as JSON, of which this is known.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn show<T: Serialize + 'static>(
        &self,
        showing: &'static Showing<T>,
        id: String,
        known: Known,
    ) -> Result<Bytes, Refusal> {
        let known = match (known, &self.who) {
            // Something was committed, or the token is shown for the first time.
            (Known::NotInThisVersion, Who::Application(token)) => {
                self.follow(Arc::clone(token), showing, id.clone()).await?
            }
            (known, _) => known,
        };
        let can_keep = match known {
            Known::Shown(body) => return Ok(body),
            Known::NotShown | Known::NotInThisVersion => true,
            Known::Nothing => false,
        };
        let (instance, wanted) = (self.hub().instance.id.clone(), id.clone());
        let shown = self.read(showing.need, move |tx, access| {
            let shown = (showing.read)(tx, access, &instance, &wanted)?;
            let body = serde_json::to_vec(&shown).map_err(|error| Refusal::internal(error.to_string()))?;
            let seq = match can_keep {
                true => Some(change::head(tx)?.seq),
                false => None,
            };
            Ok((Bytes::from(body), seq, access.reach()))
        });
        let (body, seq, reach) = shown.await?;
        if let Some(seq) = seq {
            self.hall.kept.insert(seq, reach, showing.kind, &id, &body);
        }
        Ok(body)
    }

    /// What is known of an answer in the version that is there now, after what is kept has followed to it.
    async fn follow<T: 'static>(
        &self,
        token: Arc<Token>,
        showing: &'static Showing<T>,
        id: String,
    ) -> Result<Known, Refusal> {
        let (hall, who, now) = (Arc::clone(&self.hall), self.who.clone(), self.hub().clock.now());
        self.hub()
            .db
            .read_versioned(move |tx| {
                let Some(version) = hall.kept.follow(tx)? else {
                    return Ok(Known::Nothing);
                };
                let access = Arc::new(Access::load(tx, &who, now)?);
                token.remember(version, Arc::clone(&access));
                hall.known_to(version, &access, showing, &id)
            })
            .await
    }
}
