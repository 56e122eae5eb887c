//! The members of groups: who joins and who leaves, and all of them where the application wants that.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_protocol::SubjectKind;
use rollcall_scim::Object;
use rollcall_scim::client::{Call, Goal, GroupUpdate, MemberChange, Membership, Outcome, Refusal, Step};
use serde_json::{Value, json};

use super::carry::{Broken, Carrier, Outside, not_made, remark};
use super::memory::{self, Key};
use super::work::{Moved, Piece};
use crate::application::scim::Action;
use crate::delivery::model::{Remark, Remote, Verdict, shorten};

/// How many of those who cannot join a group are named.
const NAMED: usize = 5;

/// Somebody who could not join, and why.
type Refused<'m> = (&'m Moved, Refusal);

fn refuse(code: &str, message: &str) -> Verdict {
    Verdict::Refused(Remark {
        code: code.to_owned(),
        message: Some(shorten(message)),
    })
}

impl<O: Outside> Carrier<'_, O> {
    /// Tells who joins and who leaves, and decides on the events that said so. An event is decided once all are told
    /// whom no later event is about.
    pub(super) async fn membership(
        &mut self,
        piece: &Piece,
        group: &Object,
        moved: &[Moved],
        decided: &mut BTreeMap<usize, Verdict>,
    ) -> Result<(), Broken<O::Error>> {
        let Some(remote) = self.remote(&piece.key()) else {
            let verdict = match self.scim.does(Action::Create) {
                true => refuse("group_unknown", "the application does not have the group"),
                false => not_made(),
            };
            decided.extend(piece.events.iter().map(|event| (*event, verdict.clone())));
            return Ok(());
        };
        let unknown = self.unknown(piece, moved).await?;
        let mut refused = unknown.clone();
        let refusal = match self.scim.profile.groups {
            GroupUpdate::Change => {
                self.change(piece, &remote.id, moved, decided, &mut refused)
                    .await?
            }
            GroupUpdate::Replace => self.replace(&piece.subject, &remote.id).await?,
            GroupUpdate::Put => {
                let whole = self.whole(piece, group).await?;
                let known = memory::known(remote, None);
                refusal_of(self.provide(piece, Goal::Present(whole), Some(known)).await?)
            }
        };
        let refusal = match refusal {
            Some(refusal) if refusal.status == 404 => {
                refused = unknown;
                self.make_again(piece, group).await?
            }
            refusal => refusal,
        };
        for event in &piece.events {
            let verdict = match &refusal {
                Some(refusal) => Verdict::Refused(remark(refusal)),
                None => verdict_on(*event, &refused),
            };
            decided.insert(*event, verdict);
        }
        Ok(())
    }

    /// Those who join and are in the group now, and whom the application does not have.
    async fn unknown<'m>(
        &mut self,
        piece: &Piece,
        moved: &'m [Moved],
    ) -> Result<Vec<Refused<'m>>, Broken<O::Error>> {
        let is_missing = |moved: &&Moved| moved.joins && self.account(&moved.user).is_none();
        let missing: Vec<&Moved> = moved.iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let members = self.outside.members(&piece.subject).await;
        let members: BTreeSet<String> = members.map_err(Broken::Outside)?.into_iter().collect();
        // Who has left meanwhile, or was deleted before their membership could be told, need not join.
        let are_members = missing.into_iter().filter(|moved| members.contains(&moved.user));
        let unknown = || Refusal {
            status: 404,
            scim_type: None,
            detail: "the application does not have them".to_owned(),
        };
        Ok(are_members.map(|moved| (moved, unknown())).collect())
    }

    /// The application's id for a user who is there and has not left.
    fn account(&self, user: &str) -> Option<String> {
        let remote = self.remote(&(SubjectKind::User, user.to_owned()))?;
        (!remote.left).then_some(remote.id)
    }

    /// Tells who joins and who leaves one by one. If it breaks off, the events are decided whose users are told.
    async fn change<'m>(
        &mut self,
        piece: &Piece,
        group: &str,
        moved: &'m [Moved],
        decided: &mut BTreeMap<usize, Verdict>,
        refused: &mut Vec<Refused<'m>>,
    ) -> Result<Option<Refusal>, Broken<O::Error>> {
        let (mut changes, mut sent) = (Vec::new(), Vec::new());
        for moved in moved {
            let user = self.remote(&(SubjectKind::User, moved.user.clone()));
            // Whoever is not there is no member either.
            let Some(user) = user.filter(|user| !(moved.joins && user.left)) else {
                continue;
            };
            changes.push(MemberChange {
                id: user.id,
                joins: moved.joins,
            });
            sent.push(moved);
        }
        let profile = &self.scim.profile;
        let mut membership = Membership::change(profile, group, changes);
        let told = self.tell(&mut membership).await;
        let mut open: Vec<bool> = membership.told().iter().map(|told| !told).collect();
        for (number, refusal) in membership.refused() {
            if let (Some(moved), Some(open)) = (sent.get(*number), open.get_mut(*number)) {
                *open = false;
                refused.push((*moved, refusal.clone()));
            }
        }
        if told.is_err() {
            let is_open = |event: usize| {
                let mut moves = sent.iter().zip(&open);
                moves.any(|(moved, open)| *open && moved.event == event)
            };
            for event in piece.events.iter().filter(|event| !is_open(**event)) {
                decided.insert(*event, verdict_on(*event, refused));
            }
        }
        told
    }

    /// Makes all who are in a group now members of it, at an application that has it without any.
    pub(super) async fn fill(&mut self, piece: &Piece) -> Result<(), Broken<O::Error>> {
        let Some(group) = self.remote(&piece.key()) else {
            return Ok(());
        };
        match self.scim.profile.groups {
            // It was told as a whole.
            GroupUpdate::Put => Ok(()),
            GroupUpdate::Replace => self.replace(&piece.subject, &group.id).await.map(drop),
            GroupUpdate::Change => {
                let members = self.members_there(&piece.subject).await?;
                let joining = members.into_iter().map(|id| MemberChange { id, joins: true });
                let profile = &self.scim.profile;
                let mut membership = Membership::change(profile, &group.id, joining.collect());
                self.tell(&mut membership).await.map(drop)
            }
        }
    }

    /// Makes a group that is gone there again, with all who are in it now.
    async fn make_again(
        &mut self,
        piece: &Piece,
        group: &Object,
    ) -> Result<Option<Refusal>, Broken<O::Error>> {
        self.memory.learn(piece.key(), None);
        let whole = self.whole(piece, group).await?;
        let made = self.provide(piece, Goal::Present(whole), None).await?;
        self.fill(piece).await?;
        Ok(refusal_of(made))
    }

    /// Makes those who are in a group now the only members of it there, under the application's id for it.
    pub(super) async fn replace(
        &mut self,
        group: &str,
        there: &str,
    ) -> Result<Option<Refusal>, Broken<O::Error>> {
        let members = self.members_there(group).await?;
        let mut membership = Membership::replace(&self.scim.profile, there, members);
        self.tell(&mut membership).await
    }

    /// Makes those who are in a group now, and whom the application has, the only members of it there. Groups in the group
    /// are nobody of the hub's, and are left alone where members are changed one by one.
    pub(super) async fn reconcile(
        &mut self,
        piece: &Piece,
        wanted: &Object,
    ) -> Result<Verdict, Broken<O::Error>> {
        let Some(group) = self.remote(&piece.key()) else {
            return Ok(not_made());
        };
        let mut refused = Vec::new();
        let refusal = match self.scim.profile.groups {
            // The group was told as a whole just now.
            GroupUpdate::Put => None,
            GroupUpdate::Replace => self.replace(&piece.subject, &group.id).await?,
            GroupUpdate::Change => {
                let call = Call::get("Groups", Vec::new()).of(&group.id);
                let reply = self.outside.read(call).await.map_err(Broken::Outside)?;
                if reply.status == 404 {
                    // It went between two requests.
                    let refusal = self.make_again(piece, wanted).await?;
                    return Ok(refusal.map_or(Verdict::Accepted, |why| Verdict::Again(remark(&why))));
                }
                if !reply.is_success() {
                    return Err(Broken::Failed(reply.refusal()));
                }
                let there = users_in(reply.body.as_ref());
                let wanted: BTreeSet<String> =
                    self.members_there(&piece.subject).await?.into_iter().collect();
                let joining = wanted.difference(&there).map(|id| (id, true));
                let leaving = there.difference(&wanted).map(|id| (id, false));
                let changes: Vec<MemberChange> = joining
                    .chain(leaving)
                    .map(|(id, joins)| MemberChange {
                        id: id.clone(),
                        joins,
                    })
                    .collect();
                let mut membership = Membership::change(&self.scim.profile, &group.id, changes.clone());
                let refusal = self.tell(&mut membership).await?;
                for (number, why) in membership.refused() {
                    let change = changes.get(*number);
                    refused.extend(change.map(|change| (change.id.clone(), why.clone())));
                }
                refusal
            }
        };
        if let Some(refusal) = refusal {
            return Ok(Verdict::Refused(remark(&refusal)));
        }
        let settled = Remote {
            members_in_doubt: false,
            ..group
        };
        self.memory.learn(piece.key(), Some(settled));
        let Some((_, why)) = refused.first() else {
            return Ok(Verdict::Accepted);
        };
        let ids: Vec<&str> = refused.iter().take(NAMED).map(|(id, _)| id.as_str()).collect();
        Ok(refuse(
            "member_unknown",
            &format!("{}: {}", ids.join(", "), words_of(why)),
        ))
    }

    /// The object as a whole: with its members, if it is a group that is replaced with them.
    pub(super) async fn whole(&mut self, piece: &Piece, wanted: &Object) -> Result<Object, Broken<O::Error>> {
        let mut whole = wanted.clone();
        if piece.kind == SubjectKind::Group && self.scim.profile.groups == GroupUpdate::Put {
            let members = self.members_there(&piece.subject).await?;
            let members: Vec<Value> = members.into_iter().map(|id| json!({ "value": id })).collect();
            whole.insert("members".to_owned(), members.into());
        }
        Ok(whole)
    }

    /// Those who are in a group now and whom the application has, by its ids for them.
    async fn members_there(&mut self, group: &str) -> Result<Vec<String>, Broken<O::Error>> {
        let users = self.outside.members(group).await.map_err(Broken::Outside)?;
        let keys: Vec<Key> = users.into_iter().map(|user| (SubjectKind::User, user)).collect();
        self.recall(keys.clone()).await?;
        Ok(keys.iter().filter_map(|(_, user)| self.account(user)).collect())
    }

    pub(super) async fn tell(
        &mut self,
        membership: &mut Membership<'_>,
    ) -> Result<Option<Refusal>, Broken<O::Error>> {
        loop {
            match membership.step() {
                Step::Send(call) => {
                    let reply = self.outside.send(call).await.map_err(Broken::Outside)?;
                    membership.answer(&reply);
                }
                Step::Over(Outcome::Failed(refusal)) => return Err(Broken::Failed(refusal)),
                Step::Over(Outcome::Unsuitable(refusal)) => return Err(Broken::Unsuitable(refusal)),
                Step::Over(outcome) => return Ok(refusal_of(outcome)),
                Step::Claim(_) => return Ok(None),
            }
        }
    }
}

fn refusal_of(outcome: Outcome) -> Option<Refusal> {
    match outcome {
        Outcome::Told(_) => None,
        Outcome::Refused(refusal)
        | Outcome::Taken(refusal)
        | Outcome::Failed(refusal)
        | Outcome::Unsuitable(refusal) => Some(refusal),
    }
}

/// What an event comes to whose users could join, but for some.
fn verdict_on(event: usize, refused: &[Refused<'_>]) -> Verdict {
    let mut of_it = refused.iter().filter(|(moved, _)| moved.event == event);
    let Some((first, why)) = of_it.next() else {
        return Verdict::Accepted;
    };
    let others = of_it.take(NAMED - 1).map(|(moved, _)| moved.user.as_str());
    let users: Vec<&str> = std::iter::once(first.user.as_str()).chain(others).collect();
    refuse(
        "member_unknown",
        &format!("{}: {}", users.join(", "), words_of(why)),
    )
}

fn words_of(refusal: &Refusal) -> String {
    match refusal.detail.is_empty() {
        true => format!("HTTP {}", refusal.status),
        false => refusal.detail.clone(),
    }
}

/// The application's ids of the users who are members of a group that it answers with.
pub fn users_in(group: Option<&Value>) -> BTreeSet<String> {
    let members = group.and_then(|group| group.get("members")?.as_array());
    members
        .into_iter()
        .flatten()
        .filter(|member| !is_group(member))
        .filter_map(|member| match member.get("value")? {
            Value::String(id) => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        })
        .collect()
}

/// Whether a member of a group is a group.
pub fn is_group(member: &Value) -> bool {
    member.get("type").and_then(Value::as_str) == Some("Group")
}
