//! Which user an entry of an import is about, and what it makes of them.

use std::sync::Arc;

use crate::directory::query::{Matches, Named};
use crate::directory::{Held, NewUser, UniqueValue, User, UserChanges, fields};
use crate::import::Import;
use crate::import::entry::UserEntry;
use crate::import::report::Remark;
use crate::import::step::UserRef;

/// What an entry makes of a user that is there.
pub(super) struct Change {
    pub(super) before: Arc<User>,
    pub(super) after: User,
    pub(super) fields: Option<UserChanges>,
    pub(super) enabled: Option<bool>,
    pub(super) said: Vec<String>,
    pub(super) adopted: bool,
}

/// Why an entry is not planned now.
pub(super) enum Not {
    /// It never will be.
    Refused(String),
    /// Somebody is in its way who may give way.
    Yet(String),
}

/// What an entry is about.
pub(super) enum Target {
    New(Box<User>),
    There(Box<Change>),
}

impl Target {
    pub(super) fn user(&self) -> &User {
        match self {
            Self::New(user) => user,
            Self::There(change) => &change.after,
        }
    }
}

impl<P: FnMut(&'static str, u64)> Import<'_, P> {
    pub(super) fn named(&self, entry: &UserEntry) -> Named {
        Named {
            username: entry.username.clone(),
            external_id: entry
                .external_id
                .clone()
                .flatten()
                .map(|id| (self.source_of(entry.source.as_ref()), id)),
            id: entry.id.clone(),
        }
    }

    /// Who the entry is about, and what it makes of them.
    pub(super) fn target(&mut self, entry: &UserEntry, matches: &Matches) -> Result<Target, Not> {
        let source = self.source_of(entry.source.as_ref());
        let said = entry.external_id.clone().flatten();
        // Whoever is taken over takes an external id along.
        if let Some(id) = &said
            && let Some(line) = self
                .claims
                .taken_by(&UniqueValue::external_id(&source, id), entry.line)
        {
            let reason = format!("the user of line {line} has the same external id {id:?}");
            return Err(Not::Refused(reason));
        }
        let has_still = |user: &&Arc<User>, what: &str| {
            let value = user.unique_values().into_iter().find(|value| value.what == what);
            value.is_some_and(|value| !self.claims.is_freed(&value.identity))
        };
        let by_external_id = matches
            .by_external_id
            .as_ref()
            .filter(|user| has_still(user, "external id"));
        let by_username = matches.by_username.as_ref().filter(|user| {
            // External ids of one owner that differ are different people.
            let same = user.source != source
                || said.is_none()
                || user.external_id.is_none()
                || user.external_id == said;
            same && has_still(user, "username")
        });
        let Some(user) = by_external_id.or(matches.by_id.as_ref()).or(by_username) else {
            let new = entry.new_user(&source, String::new(), Vec::new());
            return self.new_target(entry, &new).map_err(Not::Refused);
        };
        if let Err(line) = self.claims.means(&user.id, entry.line) {
            // That entry may give up the name or id by which this one finds the user.
            return Err(Not::Yet(format!("is the same user as on line {line}")));
        }
        if let Some(reference) = entry.reference {
            self.known.insert(reference, UserRef::Id(user.id.clone()));
        }
        let adopted = self
            .may_touch(&user.source, entry.source.as_ref())
            .map_err(Not::Refused)?;
        let mut entry = entry.clone();
        if adopted.is_none() && user.source != source || entry.id.as_ref() == Some(&user.id) {
            // An external id means something to the owner only; and who is named by the id here has none.
            entry.external_id = None;
        }
        let mut lines = Vec::new();
        let mut fields = None;
        let mut after = User::clone(user);
        if let Some((changes, line)) = entry.changes(user, adopted.as_ref()) {
            lines.push(line);
            after = changes.applied_to(user);
            after
                .check_limits(Some(user.as_ref()))
                .map_err(|error| Not::Refused(error.to_string()))?;
            fields = Some(changes);
        }
        Ok(Target::There(Box::new(Change {
            enabled: self.enabled(&entry).filter(|enabled| *enabled != user.enabled),
            before: Arc::clone(user),
            after,
            fields,
            said: lines,
            adopted: adopted.is_some(),
        })))
    }

    fn new_target(&self, entry: &UserEntry, new: &NewUser) -> Result<Target, String> {
        let mut user = new.to_user(String::new(), self.now);
        user.enabled = self.enabled(entry).unwrap_or(true);
        user.check_limits(None).map_err(|error| error.to_string())?;
        Ok(Target::New(Box::new(user)))
    }

    /// Whether the user may sign in afterwards, if the entry says so. An account that has ended by then is ended by
    /// the hub anyway, and would be enabled and ended in turn.
    fn enabled(&self, entry: &UserEntry) -> Option<bool> {
        let ended = entry
            .account_expire_time
            .flatten()
            .is_some_and(|time| time <= self.now);
        match entry.enabled {
            _ if ended => Some(false),
            said => said,
        }
    }

    /// Whether nobody else has, and no other entry gets, what a user is to have.
    pub(super) fn check_unique(&mut self, entry: &UserEntry, values: &[UniqueValue], held: &[Held]) -> bool {
        for value in values {
            let UniqueValue {
                what,
                shown,
                identity,
            } = value;
            if let Some(line) = self.claims.taken_by(value, entry.line) {
                let reason = format!("the user of line {line} has the same {what} {shown:?}");
                self.report
                    .refuse(Remark::new(entry.line, entry.username.clone(), reason));
                return false;
            }
            let holder = held.iter().find(|held| held.value.identity == *identity);
            if let Some(holder) = holder.filter(|_| !self.claims.is_freed(identity)) {
                let who = match self.claims.meant_by(&holder.id) {
                    Some(line) => format!("the user of line {line}"),
                    None => format!("the user {:?}", holder.username),
                };
                let reason = format!("{what} {shown:?} is taken by {who}; change that one first");
                let remark = Remark::new(entry.line, entry.username.clone(), reason);
                self.waiting.insert(entry.line, remark);
                return false;
            }
        }
        true
    }
}

/// An entry without optional values that cannot be: each with the value and what becomes of it. They say nothing
/// about the user then, so what is there stays.
pub(super) fn tidied(mut entry: UserEntry) -> (UserEntry, Vec<(String, &'static str)>) {
    let mut notes = Vec::new();
    if let Some(Some(email)) = &entry.email
        && fields::email(Some(email)).is_err()
    {
        notes.push((
            email.clone(),
            "is not an email address of at most 128 characters, and is left out",
        ));
        entry.email = None;
        entry.email_verified = None;
    }
    let region = entry.phone_region.clone().flatten();
    let number = entry.phone_number.clone().flatten();
    let said = entry.phone_region.is_some() || entry.phone_number.is_some();
    if said && fields::phone(region.as_deref(), number.as_deref()).is_err() {
        let text = [region, number]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        notes.push((
            text,
            "is not a phone number with its country (a region such as 49, and 6 to 15 digits), and is left out",
        ));
        entry.phone_region = None;
        entry.phone_number = None;
        entry.phone_verified = None;
    }
    if let Some(Some(text)) = &entry.description
        && fields::optional_text("description", Some(text), 256).is_err()
    {
        let start: String = text.chars().take(20).collect();
        notes.push((
            format!("{start}…"),
            "has more than 256 characters or control characters, and is left out",
        ));
        entry.description = None;
    }
    // Times before 1970 are none here.
    if let Some(Some(time)) = entry.account_expire_time
        && time < 0
    {
        entry.account_expire_time = Some(None);
    }
    (entry, notes)
}
