//! Carrying pieces of work to their end: one request after the other, and what comes of each event.

use std::collections::HashMap;

use rollcall_protocol::SubjectKind;
use rollcall_scim::Object;
use rollcall_scim::client::{
    Call, Goal, GroupUpdate, Known, Managed, Outcome, Provision, Refusal, Reply, Step, Update,
};
use rollcall_scim::schema;

use super::memory::{self, Key, Memory};
use super::work::{Deed, Piece, Work, decide, passed_over};
use crate::application::scim::{Action, Checked, Leavers, Scim};
use crate::delivery::model::{Remark, Remote, Verdict, shorten};

/// Whom the carrier asks: the application, and the database.
pub trait Outside: Send {
    /// Why something cannot be had.
    type Error: Send;

    /// Sends a request.
    fn send(&mut self, call: Call) -> impl Future<Output = Result<Reply, Self::Error>> + Send;

    /// Sends a request whose answer may be large.
    fn read(&mut self, call: Call) -> impl Future<Output = Result<Reply, Self::Error>> + Send;

    /// What is stored of these objects; those of which nothing is are left out.
    fn stored(
        &mut self,
        keys: Vec<Key>,
    ) -> impl Future<Output = Result<HashMap<Key, Remote>, Self::Error>> + Send;

    /// Who is stored under an id of the application's.
    fn holder(
        &mut self,
        kind: SubjectKind,
        id: &str,
    ) -> impl Future<Output = Result<Option<String>, Self::Error>> + Send;

    /// Who is in a group now.
    fn members(&mut self, group: &str) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;
}

/// Why no more is carried now.
#[derive(Debug)]
pub enum Broken<E> {
    /// Nothing came back, or something cannot be had.
    Outside(E),
    /// The last answer is about the whole: credentials, limits, failures.
    Failed(Refusal),
    /// The application does not do such requests: its profile is wrong.
    Unsuitable(Refusal),
}

/// Carries work for one application.
#[derive(Debug)]
pub struct Carrier<'a, O> {
    /// Its parameters.
    pub scim: &'a Scim,
    /// The same, checked.
    pub checked: &'a Checked,
    /// The attributes of groups that are set.
    pub of_groups: &'a Managed,
    /// What was learned and may not be stored yet.
    pub memory: &'a Memory,
    /// Whom it asks.
    pub outside: O,
    /// What was stored of those who were asked for.
    pub stored: HashMap<Key, Option<Remote>>,
    /// Those who have left and whose accounts others have now, to be forgotten with the settlement.
    pub given_up: Vec<Key>,
}

impl<'a, O: Outside> Carrier<'a, O> {
    /// Carries all pieces, in their order. What is decided by then stands in `work.decided`, also if it breaks off.
    ///
    /// # Errors
    /// [`Broken`]; what was learned until then is kept.
    pub async fn carry(&mut self, work: &mut Work) -> Result<(), Broken<O::Error>> {
        self.recall(work.keys()).await?;
        for piece in std::mem::take(&mut work.pieces) {
            let said = match &piece.deed {
                Deed::Present { wanted, before } => self.present(&piece, wanted, before.as_ref()).await?,
                Deed::Leave { how, last, groups } => {
                    self.leave(&piece, *how, last, groups.as_deref()).await?
                }
                Deed::Members { group, moved } => {
                    self.membership(&piece, group, moved, &mut work.decided).await?;
                    continue;
                }
            };
            decide(&mut work.decided, &piece.events, &said);
        }
        Ok(())
    }

    /// Reads what is stored of objects, once.
    pub(super) async fn recall(&mut self, keys: Vec<Key>) -> Result<(), Broken<O::Error>> {
        let is_missing = |key: &Key| !self.memory.knows(key) && !self.stored.contains_key(key);
        let missing: Vec<Key> = keys.into_iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let stored = self.outside.stored(missing.clone()).await;
        let mut stored = stored.map_err(Broken::Outside)?;
        for key in missing {
            let remote = stored.remove(&key);
            self.stored.insert(key, remote);
        }
        Ok(())
    }

    /// What is remembered of an object that was recalled.
    pub(super) fn remote(&self, key: &Key) -> Option<Remote> {
        let stored = self.stored.get(key).cloned().flatten();
        self.memory.over(key, stored)
    }

    async fn present(
        &mut self,
        piece: &Piece,
        wanted: &Object,
        before: Option<&Object>,
    ) -> Result<Verdict, Broken<O::Error>> {
        let remote = self.remote(&piece.key());
        if piece.events.is_empty() && remote.is_some() {
            // Only its members change. If it is gone there, that is found out then.
            return Ok(Verdict::Accepted);
        }
        if !self.scim.does(Action::Update) && remote.as_ref().is_some_and(|remote| !remote.left) {
            return Ok(passed_over(
                "no_updates",
                "changes are not told to this application",
            ));
        }
        let whole = self.whole(piece, wanted).await?;
        let id_before = remote.as_ref().map(|remote| remote.id.clone());
        let in_doubt = remote.as_ref().is_some_and(|remote| remote.members_in_doubt);
        let known = remote.map(|remote| memory::known(remote, before));
        let ended = self.provide(piece, Goal::Present(whole.clone()), known).await?;
        if let (Outcome::Told(Some(known)), Some(before), SubjectKind::Group) =
            (&ended, &id_before, piece.kind)
            && known.id != *before
        {
            // The group was gone there. The one that is there now has none of those who were in it.
            self.fill(piece).await?;
        }
        if in_doubt && matches!(ended, Outcome::Told(_)) {
            return self.reconcile(piece, &whole).await;
        }
        Ok(concluded(piece, ended))
    }

    async fn leave(
        &mut self,
        piece: &Piece,
        how: Leavers,
        last: &Object,
        groups: Option<&[String]>,
    ) -> Result<Verdict, Broken<O::Error>> {
        let goal = match how {
            Leavers::Release => {
                self.memory.learn(piece.key(), None);
                return Ok(Verdict::Accepted);
            }
            Leavers::Disable => Goal::Disabled(last.clone()),
            Leavers::Delete => Goal::Deleted,
        };
        let remote = self.remote(&piece.key());
        // Whoever was disabled may have come back since, without anybody having heard that this was carried out.
        let known = remote.map(|remote| Known {
            disabled: false,
            ..memory::known(remote, None)
        });
        let ended = self.provide(piece, goal, known).await?;
        if let (Outcome::Told(Some(known)), Leavers::Disable, true) = (&ended, how, self.scim.groups) {
            return self.take_out(groups, &known.id).await;
        }
        Ok(concluded(piece, ended))
    }

    /// How an object of a kind is told of, and changed.
    fn provision(&self, piece: &Piece, goal: Goal, known: Option<Known>) -> Provision<'a> {
        let (scim, checked) = (self.scim, self.checked);
        let profile = &scim.profile;
        let (types, managed, put) = match piece.kind {
            SubjectKind::Group => (
                schema::group(),
                self.of_groups,
                profile.groups == GroupUpdate::Put,
            ),
            SubjectKind::User | SubjectKind::Unit => {
                (schema::user(), &checked.managed, profile.users == Update::Put)
            }
        };
        let external_id = match &goal {
            Goal::Present(resource) | Goal::Disabled(resource) => resource.get("externalId"),
            Goal::Deleted => None,
        };
        let key = external_id
            .and_then(|id| id.as_str())
            .unwrap_or(&piece.subject)
            .to_owned();
        let update = match put {
            true => Update::Put,
            false => Update::Patch,
        };
        let provision = Provision::new(types, profile, managed, update, key, goal, known);
        match scim.does(Action::Create) {
            true => provision,
            false => provision.only_if_there(),
        }
    }

    /// Carries one object to its end, and remembers what is known of it then.
    pub(super) async fn provide(
        &mut self,
        piece: &Piece,
        goal: Goal,
        known: Option<Known>,
    ) -> Result<Outcome, Broken<O::Error>> {
        let mut provision = self.provision(piece, goal, known);
        let outcome = loop {
            match provision.step() {
                Step::Send(call) => {
                    let reply = self.outside.send(call).await.map_err(Broken::Outside)?;
                    provision.answer(&reply);
                }
                Step::Claim(id) => provision.claim(self.is_free(piece, &id).await?),
                Step::Over(outcome) => break outcome,
            }
        };
        match outcome {
            Outcome::Told(known) => {
                let before = self.remote(&piece.key());
                // Who is in a group is another question, which stays open until it is answered.
                let in_doubt = before.as_ref().is_some_and(|before| before.members_in_doubt);
                let remote = known.clone().map(|known| Remote {
                    members_in_doubt: in_doubt,
                    ..memory::remote(known)
                });
                if before != remote {
                    self.memory.learn(piece.key(), remote);
                }
                Ok(Outcome::Told(known))
            }
            Outcome::Failed(refusal) => Err(Broken::Failed(refusal)),
            Outcome::Unsuitable(refusal) => Err(Broken::Unsuitable(refusal)),
            outcome @ (Outcome::Refused(_) | Outcome::Taken(_)) => Ok(outcome),
        }
    }

    /// Whether nobody else is known by an id of the application's, who still needs it: whoever has left, and was
    /// disabled there, gives the account up.
    async fn is_free(&mut self, piece: &Piece, id: &str) -> Result<bool, Broken<O::Error>> {
        let Some(holder) = self
            .holder(piece.kind, id)
            .await?
            .filter(|holder| *holder != piece.subject)
        else {
            return Ok(true);
        };
        let key = (piece.kind, holder);
        self.recall(vec![key.clone()]).await?;
        let has_left = self.remote(&key).is_some_and(|remote| remote.left);
        if has_left {
            self.memory.learn(key.clone(), None);
            self.given_up.push(key);
        }
        Ok(has_left)
    }

    /// Who is known by an id of the application's.
    pub(super) async fn holder(
        &mut self,
        kind: SubjectKind,
        id: &str,
    ) -> Result<Option<String>, Broken<O::Error>> {
        if let Some(holder) = self.memory.holder(kind, id) {
            return Ok(Some(holder));
        }
        let holder = self.outside.holder(kind, id).await.map_err(Broken::Outside)?;
        // Of whoever something was learned since, that is what counts.
        Ok(holder.filter(|holder| !self.memory.knows(&(kind, holder.clone()))))
    }
}

fn concluded(piece: &Piece, outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Told(None) if matches!(piece.deed, Deed::Present { .. }) => not_made(),
        Outcome::Told(_) => Verdict::Accepted,
        Outcome::Refused(refusal) => Verdict::Refused(remark(&refusal)),
        Outcome::Taken(refusal) => Verdict::Again(Remark {
            code: "taken".to_owned(),
            ..remark(&refusal)
        }),
        Outcome::Unsuitable(refusal) | Outcome::Failed(refusal) => Verdict::Again(remark(&refusal)),
    }
}

/// What is said of whoever is not there and is not to be made.
pub(super) fn not_made() -> Verdict {
    passed_over(
        "no_creates",
        "the application does not have it, and the hub makes nobody there",
    )
}

/// What the application said.
pub(super) fn remark(refusal: &Refusal) -> Remark {
    let code = match refusal.scim_type {
        Some(kind) => kind.as_str().to_owned(),
        None => format!("http_{}", refusal.status),
    };
    Remark {
        code,
        message: Some(shorten(&refusal.detail)).filter(|text| !text.is_empty()),
    }
}
