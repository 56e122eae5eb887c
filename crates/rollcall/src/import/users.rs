//! Users of an import, portion by portion.

mod target;

use std::collections::{BTreeMap, HashMap};

use rollcall_db::DbError;

use super::entry::{Path, Reference, UserEntry};
use super::reader::File;
use super::report::{Deed, Kind, Remark};
use super::step::{Changed, Index, Made, Step, UserEdit, UserRef, Users};
use super::{Import, Stop, Trouble};
use crate::directory::query::{Matches, Named};
use crate::directory::{self, Held, NewUser, UniqueValue, User, fields::fold, path, query};
use target::{Change, Not, Target, tidied};

/// Which user a reference of the file means.
pub(super) type Known = HashMap<Reference, UserRef>;

/// Which lines a pass over the file takes: all, or those that wait.
type Waiting = BTreeMap<u64, Remark>;

/// The identity of a username among unique values.
pub(super) fn username_identity(username: &str) -> String {
    UniqueValue::username(username).identity
}

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    pub(super) async fn plan_users(&mut self, file: &File<'_>) -> Result<(), Stop> {
        self.pass(file, None).await?;
        self.plan_waiting_users(file).await
    }

    /// Plans those who wait for what others have, as long as others give something up.
    pub(super) async fn plan_waiting_users(&mut self, file: &File<'_>) -> Result<(), Stop> {
        while self.claims.freed_lately() && !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            self.pass(file, Some(&waiting)).await?;
        }
        Ok(())
    }

    /// Refuses those who still wait.
    pub(super) fn refuse_waiting_users(&mut self) {
        for (_, remark) in std::mem::take(&mut self.waiting) {
            self.report.refuse(remark);
        }
    }

    /// Goes through the users of the file; only through those that wait, if some are given.
    async fn pass(&mut self, file: &File<'_>, waiting: Option<&Waiting>) -> Result<(), Stop> {
        let mut entries = file.users()?;
        let size = self.options.portion.max(1);
        let mut done = 0;
        // While the directory is asked about a portion, the one before it is planned and the next one read.
        let mut asked = None;
        loop {
            self.go_on()?;
            let mut portion = Vec::with_capacity(size);
            while portion.len() < size
                && let Some(read) = entries.next()
            {
                let Some(waiting) = waiting else {
                    let Some(entry) = self.take(read)? else { continue };
                    portion.extend(self.first_look(entry));
                    continue;
                };
                // What was to be said of the entries was said in the first pass.
                match read {
                    Ok(entry) if waiting.contains_key(&entry.line) => portion.push(tidied(entry).0),
                    Err(Trouble::File(error)) => return Err(error.into()),
                    Ok(_) | Err(_) => {}
                }
            }
            let ended = portion.len() < size;
            let before = match portion.is_empty() {
                true => asked.take(),
                false => asked.replace(self.ask(portion)),
            };
            let last = if ended { asked.take() } else { None };
            for (portion, matches) in before.into_iter().chain(last) {
                done += portion.len() as u64;
                self.plan_portion(portion, matches.await?).await?;
                (self.progress)("users", done);
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Asks the directory who it has of a portion.
    fn ask(
        &self,
        portion: Vec<UserEntry>,
    ) -> (
        Vec<UserEntry>,
        impl Future<Output = Result<Vec<Matches>, DbError>> + use<P>,
    ) {
        let named: Vec<Named> = portion.iter().map(|entry| self.named(entry)).collect();
        // It is queued by this call, not when it is waited for.
        let matches = self.hub.db.read(move |tx| query::match_users(tx, &named));
        (portion, matches)
    }

    /// Notes what is passed over, and refuses an entry whose username or external id another one has.
    fn first_look(&mut self, entry: UserEntry) -> Option<UserEntry> {
        let (entry, notes) = tidied(entry);
        for (detail, message) in notes {
            let subject = format!("{}: {detail:?}", entry.username);
            self.report.note(Remark::new(entry.line, subject, message));
        }
        self.see_units(&entry);
        let external_id = entry.external_id.as_ref().and_then(Option::as_ref);
        let values = [
            Some(UniqueValue::username(&entry.username)),
            external_id.map(|id| UniqueValue::external_id(&self.source_of(entry.source.as_ref()), id)),
        ];
        for value in values.into_iter().flatten() {
            if let Err(line) = self.claims.name(&value, entry.line) {
                let reason = format!("line {line} has the same {}", value.what);
                self.report
                    .refuse(Remark::new(entry.line, entry.username, reason));
                return None;
            }
        }
        Some(entry)
    }

    /// The units of an entry are in the file, also if the entry is refused.
    fn see_units(&mut self, entry: &UserEntry) {
        if self.options.delete_missing.is_some() {
            for path in std::iter::once(&entry.path).chain(entry.further_paths.iter().flatten()) {
                self.units.see(path);
            }
        }
    }

    /// Compares a portion with the directory and plans what is to be done.
    async fn plan_portion(&mut self, portion: Vec<UserEntry>, matches: Vec<Matches>) -> Result<(), Stop> {
        let mut targets = Vec::with_capacity(portion.len());
        let mut unchecked = Vec::new();
        for (entry, matches) in portion.into_iter().zip(matches) {
            match self.target(&entry, &matches) {
                Ok(target) => {
                    let differs = match &target {
                        Target::New(_) => true,
                        Target::There(change) => change.fields.is_some(),
                    };
                    if differs {
                        unchecked.push(target.user().clone());
                    }
                    targets.push((entry, target, differs));
                }
                Err(Not::Refused(reason)) => {
                    self.report
                        .refuse(Remark::new(entry.line, entry.username, reason));
                }
                Err(Not::Yet(reason)) => {
                    let remark = Remark::new(entry.line, entry.username, reason);
                    self.waiting.insert(entry.line, remark);
                }
            }
        }
        let held = match unchecked.is_empty() {
            true => Vec::new(),
            false => {
                self.hub
                    .db
                    .read(move |tx| directory::held(tx, &unchecked))
                    .await?
            }
        };
        let mut held = held.into_iter();
        let mut there = Vec::new();
        let mut users = Users::default();
        // Those who are made are written first, so they count first.
        for (entry, target, differs) in targets {
            let held = if differs {
                held.next().unwrap_or_default()
            } else {
                Vec::new()
            };
            match target {
                Target::New(user) => self.plan_new(entry, &user, &held, &mut users).await?,
                Target::There(change) => there.push((entry, change, held)),
            }
        }
        for (entry, change, held) in there {
            self.plan_change(entry, *change, &held, &mut users).await?;
        }
        if users.made.is_empty() && users.changed.is_empty() && users.joining.is_empty() {
            return Ok(());
        }
        self.step(Step::Users(users)).await
    }

    async fn plan_new(
        &mut self,
        entry: UserEntry,
        user: &User,
        held: &[Held],
        users: &mut Users,
    ) -> Result<(), Stop> {
        let values = user.unique_values();
        if !self.check_unique(&entry, &values, held) {
            return Ok(());
        }
        let Some((primary, further)) = self.user_places(&entry).await? else {
            return Ok(());
        };
        for value in &values {
            self.claims.take(value, entry.line);
        }
        let made = UserRef::Made(fold(&entry.username));
        if self.remembers_made() {
            self.claims.make(&entry.username);
        }
        self.report.report.users.created += 1;
        self.report.sample(Deed::Create, Kind::User, || {
            format!("{} ({})", entry.username, path::join(&entry.path))
        });
        if let Some(reference) = entry.reference {
            self.known.insert(reference, made.clone());
        }
        let place = users.made.len();
        for name in &entry.groups {
            if let Some(group) = self.named_group(entry.line, name, &made).await? {
                let joining = users.joining.entry(group).or_default();
                joining.name.clone_from(name);
                // A list may name a group twice.
                if joining.made.last() != Some(&place) {
                    joining.made.push(place);
                    self.report.report.members_added += 1;
                }
            }
        }
        let source = self.source_of(entry.source.as_ref());
        users.made.push(Made {
            line: entry.line,
            new: NewUser {
                disabled: !user.enabled,
                ..entry.new_user(&source, String::new(), Vec::new())
            },
            primary,
            further,
        });
        Ok(())
    }

    /// Whether it has to be known later who is made.
    fn remembers_made(&self) -> bool {
        self.options.delete_missing.is_some() || self.options.format != super::Format::Csv
    }

    /// The units of an entry; `None` if it is refused because of them.
    async fn user_places(&mut self, entry: &UserEntry) -> Result<Option<(Index, Vec<Index>)>, Stop> {
        let paths: Vec<&Path> = std::iter::once(&entry.path)
            .chain(entry.further_paths.iter().flatten())
            .collect();
        match self.places(&paths).await? {
            Ok(places) => Ok(places
                .split_first()
                .map(|(primary, further)| (*primary, further.to_vec()))),
            Err(reason) => {
                self.report
                    .refuse(Remark::new(entry.line, entry.username.clone(), reason));
                Ok(None)
            }
        }
    }

    async fn plan_change(
        &mut self,
        entry: UserEntry,
        change: Change,
        held: &[Held],
        users: &mut Users,
    ) -> Result<(), Stop> {
        let Change {
            before,
            after,
            fields,
            enabled,
            mut said,
            adopted,
        } = change;
        let (had, has) = match fields {
            Some(_) => (before.unique_values(), after.unique_values()),
            None => (Vec::new(), Vec::new()),
        };
        let gains: Vec<UniqueValue> = has.iter().filter(|value| !holds(&had, value)).cloned().collect();
        if !self.check_unique(&entry, &gains, held) {
            return Ok(());
        }
        let Some((primary, mut further)) = self.user_places(&entry).await? else {
            return Ok(());
        };
        for value in had.iter().filter(|value| !holds(&has, value)) {
            self.claims.free(&value.identity);
        }
        for value in &gains {
            self.claims.take(value, entry.line);
            if value.what == "username" {
                self.claims.rename(&before.id, &entry.username);
            }
        }
        if adopted {
            self.claims.adopt(&before.id);
        }
        let mut edits: Vec<UserEdit> = fields
            .map(|it| UserEdit::Fields(Box::new(it)))
            .into_iter()
            .collect();
        let present: Vec<Option<Index>> = before.unit_ids().iter().map(|id| self.units.of_id(id)).collect();
        if entry.further_paths.is_none() {
            further = present.iter().skip(1).flatten().copied().collect();
        }
        further.retain(|unit| *unit != primary);
        further.sort_unstable();
        further.dedup();
        let mut stands: Vec<Option<Index>> = present.iter().skip(1).copied().collect();
        stands.sort_unstable();
        if present.first() != Some(&Some(primary))
            || !stands.iter().copied().eq(further.iter().copied().map(Some))
        {
            said.push(format!("moved to {}", path::join(&entry.path)));
            for unit in present.iter().flatten() {
                let users = self.units.users.entry(*unit).or_default();
                *users = users.saturating_sub(1);
            }
            for unit in std::iter::once(&primary).chain(&further) {
                *self.units.users.entry(*unit).or_default() += 1;
            }
            edits.push(UserEdit::Units { primary, further });
        }
        if let Some(enabled) = enabled {
            said.push(if enabled { "enabled" } else { "disabled" }.to_owned());
            edits.push(UserEdit::Enabled(enabled));
        }
        let user = UserRef::Id(before.id.clone());
        for name in &entry.groups {
            let Some(group) = self.named_group(entry.line, name, &user).await? else {
                continue;
            };
            let is_member = self.groups.nodes[group]
                .id
                .as_ref()
                .is_some_and(|id| before.groups.contains(id));
            let joining = users.joining.entry(group).or_default();
            joining.name.clone_from(name);
            if !is_member && joining.ids.last() != Some(&before.id) {
                joining.ids.push(before.id.clone());
                self.report.report.members_added += 1;
            }
        }
        if edits.is_empty() {
            self.report.report.users.unchanged += 1;
            return Ok(());
        }
        self.report.report.users.updated += 1;
        self.report.sample(Deed::Update, Kind::User, || {
            format!("{}: {}", before.username, said.join("; "))
        });
        users.changed.push(Changed {
            line: entry.line,
            id: before.id.clone(),
            username: entry.username,
            edits,
        });
        Ok(())
    }
}

fn holds(values: &[UniqueValue], value: &UniqueValue) -> bool {
    values.iter().any(|other| other.identity == value.identity)
}
