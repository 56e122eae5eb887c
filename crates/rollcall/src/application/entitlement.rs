//! What an application is entitled to: its scope, its subscription, and which of a change's sides
//! they cover.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use rollcall_db::{DbError, Row, Tx, Value, params};
use rollcall_protocol::{EventType, SubjectKind};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::change::{Change, ChangeKind, Placement, Seq, placeholders};
use crate::id::ROOT_UNIT;

/// The synchronization scope: organizational units with all below them, and groups with their members.
///
/// Groups are covered if they are named, or if the scope names the root unit: that means the whole
/// directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scope {
    /// Ids of organizational units.
    pub organizational_unit_ids: BTreeSet<String>,
    /// Ids of groups.
    pub group_ids: BTreeSet<String>,
}

impl Scope {
    /// The whole directory.
    pub fn everything() -> Self {
        Self {
            organizational_unit_ids: [ROOT_UNIT.to_owned()].into(),
            group_ids: BTreeSet::new(),
        }
    }

    /// Whether nothing is outside of it.
    pub fn is_everything(&self) -> bool {
        self.organizational_unit_ids.contains(ROOT_UNIT)
    }

    /// Whether a subject of this kind that stands there is covered.
    pub fn covers(&self, kind: SubjectKind, placement: &Placement) -> bool {
        placement.is_within(kind, &self.organizational_unit_ids, &self.group_ids)
    }
}

/// The types of events that an application wants (`ListenEventScopes`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Subscription(BTreeSet<EventType>);

impl JsonSchema for Subscription {
    fn schema_name() -> Cow<'static, str> {
        "Subscription".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let all: Vec<String> = Self::everything().into();
        json_schema!({
            "description": "The short types of the events that are wanted.",
            "type": "array",
            "items": { "type": "string", "enum": all },
            "uniqueItems": true,
        })
    }
}

impl Default for Subscription {
    fn default() -> Self {
        Self::everything()
    }
}

impl Subscription {
    /// Every type that the hub sends.
    pub fn everything() -> Self {
        Self(
            EventType::ALL
                .iter()
                .copied()
                .filter(|event| event.is_subscribable())
                .collect(),
        )
    }

    /// Just these types.
    pub fn of(events: impl IntoIterator<Item = EventType>) -> Self {
        Self(events.into_iter().collect())
    }

    /// Whether events of this type are wanted.
    pub fn contains(&self, event: EventType) -> bool {
        self.0.contains(&event)
    }

    /// The types, in their order.
    pub fn events(&self) -> impl Iterator<Item = EventType> + '_ {
        self.0.iter().copied()
    }
}

/// Reads a type that an application can subscribe to.
///
/// # Errors
/// In words for people, with the types that there are.
pub fn subscribable(name: &str) -> Result<EventType, String> {
    EventType::parse(name)
        .filter(|event| event.is_subscribable())
        .ok_or_else(|| {
            let known: Vec<_> = Subscription::everything().into();
            format!(
                "{name:?} is no event type to subscribe to; there are {}",
                known.join(", ")
            )
        })
}

impl TryFrom<Vec<String>> for Subscription {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        names
            .iter()
            .map(|name| subscribable(name))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<Subscription> for Vec<String> {
    fn from(subscription: Subscription) -> Self {
        subscription
            .0
            .iter()
            .map(|event| event.short().to_owned())
            .collect()
    }
}

/// Scope and subscription, valid for the changes after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlement {
    /// Changes after this one are judged by it.
    pub from_seq: Seq,
    /// Which subjects.
    pub scope: Scope,
    /// Which events.
    pub subscription: Subscription,
}

impl Entitlement {
    /// Reads a version whose columns begin with this one.
    fn from_row(application_id: &str, row: &Row, first: usize) -> Result<Self, DbError> {
        Ok(Self {
            from_seq: row.get(first)?,
            scope: parsed(application_id, &row.get::<String>(first + 1)?)?,
            subscription: parsed(application_id, &row.get::<String>(first + 2)?)?,
        })
    }

    /// The event that a change is to this application; `None` if it gets none.
    ///
    /// A subject that enters the scope is created there, one that leaves it is deleted, whatever it
    /// was that moved it. A subject that was and stays in scope gets the change's own event.
    pub fn event_for(&self, change: &Change) -> Option<EventType> {
        let covered = |placement: &Option<std::sync::Arc<Placement>>| {
            placement
                .as_ref()
                .is_some_and(|placement| self.scope.covers(change.subject_kind, placement))
        };
        let event = match (covered(&change.before), covered(&change.after), change.kind) {
            (false, false, _)
            | (true, true, ChangeKind::Departure | ChangeKind::Arrival)
            | (false, true, ChangeKind::Departure)
            | (true, false, ChangeKind::Arrival) => return None,
            (true, true, ChangeKind::Event(event)) => event,
            (false, true, _) => created(change.subject_kind),
            (true, false, _) => deleted(change.subject_kind),
        };
        self.subscription.contains(event).then_some(event)
    }
}

/// The event that tells of a subject's beginning.
pub fn created(kind: SubjectKind) -> EventType {
    match kind {
        SubjectKind::User => EventType::UserCreate,
        SubjectKind::Unit => EventType::UnitCreate,
        SubjectKind::Group => EventType::GroupCreate,
    }
}

/// The event that tells of a subject's end.
pub fn deleted(kind: SubjectKind) -> EventType {
    match kind {
        SubjectKind::User => EventType::UserDelete,
        SubjectKind::Unit => EventType::UnitDelete,
        SubjectKind::Group => EventType::GroupDelete,
    }
}

/// How many applications one statement asks for.
const AT_ONCE: usize = 500;

/// What a version is made of, as it is stored.
pub(super) const COLUMNS: &str = "from_seq, scope, subscription";

/// A part of an entitlement as it is stored.
pub(super) fn parsed<T: DeserializeOwned>(application_id: &str, json: &str) -> Result<T, DbError> {
    serde_json::from_str(json)
        .map_err(|error| DbError::Other(format!("the entitlement of {application_id}: {error}")))
}

/// All versions of an application's entitlement.
#[derive(Clone, Debug)]
pub struct Entitlements {
    application_id: String,
    /// Oldest first; never empty.
    versions: Vec<Entitlement>,
}

impl Entitlements {
    /// Reads them.
    ///
    /// # Errors
    /// What the database reports; also if the application has none.
    pub fn load(tx: &mut Tx<'_>, application_id: &str) -> Result<Self, DbError> {
        let rows = tx.query(
            &format!("SELECT {COLUMNS} FROM entitlements WHERE application_id = $1 ORDER BY from_seq"),
            params![application_id],
        )?;
        Self::read(application_id, &rows, 0)
    }

    /// Reads them from rows in which their columns begin with this one.
    ///
    /// # Errors
    /// If they cannot be read, or there are none.
    pub(super) fn read(application_id: &str, rows: &[Row], first: usize) -> Result<Self, DbError> {
        let versions = rows
            .iter()
            .map(|row| Entitlement::from_row(application_id, row, first))
            .collect::<Result<Vec<_>, DbError>>()?;
        if versions.is_empty() {
            return Err(DbError::Other(format!("{application_id} has no entitlement")));
        }
        Ok(Self {
            application_id: application_id.to_owned(),
            versions,
        })
    }

    /// All versions of the entitlements of some applications, by id; those that are gone are left out.
    ///
    /// # Errors
    /// What the database reports.
    pub fn of_each(tx: &mut Tx<'_>, ids: &[String]) -> Result<HashMap<String, Self>, DbError> {
        let mut found = HashMap::<String, Self>::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let sql = format!(
                "SELECT from_seq, scope, subscription, application_id FROM entitlements
                 WHERE application_id IN {} ORDER BY from_seq",
                placeholders(1, ids.len())
            );
            let values: Vec<Value<'_>> = ids.iter().map(Value::from).collect();
            for row in &tx.query(&sql, &values)? {
                let id: String = row.get(3)?;
                let version = Entitlement::from_row(&id, row, 0)?;
                let of_it = found.entry(id).or_insert_with_key(|id| Self {
                    application_id: id.clone(),
                    versions: Vec::new(),
                });
                of_it.versions.push(version);
            }
        }
        Ok(found)
    }

    /// The scope that each application has now: its id, its name and the scope, by name.
    ///
    /// # Errors
    /// What the database reports.
    pub fn scopes(tx: &mut Tx<'_>) -> Result<Vec<(String, String, Scope)>, DbError> {
        tx.query(
            "SELECT a.id, a.name, e.scope FROM applications a
             JOIN entitlements e ON e.application_id = a.id AND e.from_seq =
                  (SELECT MAX(from_seq) FROM entitlements newest WHERE newest.application_id = a.id)
             ORDER BY a.name_folded",
            params![],
        )?
        .iter()
        .map(|row| {
            let id: String = row.get(0)?;
            let scope = parsed(&id, &row.get::<String>(2)?)?;
            Ok((id, row.get(1)?, scope))
        })
        .collect()
    }

    /// The scopes that these applications have now, by id; those that are gone are left out.
    ///
    /// # Errors
    /// What the database reports.
    pub fn scopes_of(tx: &mut Tx<'_>, ids: &[String]) -> Result<HashMap<String, Scope>, DbError> {
        let mut scopes = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let sql = format!(
                "SELECT e.application_id, e.scope FROM entitlements e
                 WHERE e.application_id IN {} AND e.from_seq =
                       (SELECT MAX(from_seq) FROM entitlements newest WHERE newest.application_id = e.application_id)",
                placeholders(1, ids.len())
            );
            let values: Vec<Value<'_>> = ids.iter().map(|id| Value::from(id.as_str())).collect();
            for row in tx.query(&sql, &values)? {
                let id: String = row.get(0)?;
                let scope = parsed(&id, &row.get::<String>(1)?)?;
                scopes.insert(id, scope);
            }
        }
        Ok(scopes)
    }

    /// Stores a version that is valid after `entitlement.from_seq`; it replaces one from there.
    ///
    /// # Errors
    /// What the database reports.
    pub fn store(tx: &mut Tx<'_>, application_id: &str, entitlement: &Entitlement) -> Result<(), DbError> {
        let json = |value: serde_json::Result<String>| value.map_err(|e| DbError::Other(e.to_string()));
        let scope = json(serde_json::to_string(&entitlement.scope))?;
        let subscription = json(serde_json::to_string(&entitlement.subscription))?;
        tx.execute(
            "INSERT INTO entitlements (application_id, from_seq, scope, subscription)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (application_id, from_seq)
             DO UPDATE SET scope = excluded.scope, subscription = excluded.subscription",
            params![
                application_id,
                entitlement.from_seq,
                scope.as_str(),
                subscription.as_str()
            ],
        )?;
        Ok(())
    }

    /// The version that judges the change at this position.
    pub fn at(&self, seq: Seq) -> &Entitlement {
        // The first version also judges what stands before it: there is nothing older to go by.
        self.versions
            .iter()
            .rev()
            .find(|version| version.from_seq < seq)
            .unwrap_or(&self.versions[0])
    }

    /// The event that a change is to the application, by the version of its position; `None` if it gets none, also
    /// because it wrote the change itself and its echo is withheld.
    pub fn event_for(&self, change: &Change) -> Option<EventType> {
        if self.is_withheld(change) {
            return None;
        }
        self.at(change.seq).event_for(change)
    }

    /// Whether the application wrote a change itself and is not told of it.
    pub fn is_withheld(&self, change: &Change) -> bool {
        change.withheld_from.as_deref() == Some(self.application_id.as_str())
    }

    /// The position after which changes are judged at all: the log's end when the application was added.
    pub fn begins(&self) -> Seq {
        self.versions[0].from_seq
    }

    /// The newest version.
    pub fn current(&self) -> &Entitlement {
        &self.versions[self.versions.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn only_what_can_be_chosen_is_offered() {
        let everything = Subscription::everything();
        assert_eq!(everything.events().count(), 22);
        assert!(!everything.contains(EventType::Test) && !everything.contains(EventType::Inventory));
        for name in ["inventory", EventType::Inventory.urn(), "common:test", "nonsense"] {
            let problem = Subscription::try_from(vec![name.to_owned()]).unwrap_err();
            assert!(problem.contains("ud:user:create"), "{problem}");
        }
        assert!(Subscription::try_from(vec!["ud:user:create".to_owned()]).is_ok());
    }

    fn placed(units: &[&str], groups: &[&str]) -> Option<Arc<Placement>> {
        let own = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Some(Arc::new(Placement {
            units: own(units),
            groups: own(groups),
        }))
    }

    fn event(
        kind: ChangeKind,
        before: Option<Arc<Placement>>,
        after: Option<Arc<Placement>>,
    ) -> Option<EventType> {
        let entitlement = Entitlement {
            from_seq: 0,
            scope: Scope {
                organizational_unit_ids: ["ou_a".into()].into(),
                group_ids: ["g".into()].into(),
            },
            subscription: Subscription::everything(),
        };
        entitlement.event_for(&Change {
            seq: 1,
            event_id: "evnt_1".into(),
            kind,
            subject_kind: SubjectKind::User,
            subject_id: "user_1".into(),
            time: 0,
            actor: "test".into(),
            record: "{}".into(),
            previous: None,
            before,
            after,
            secret: None,
            withheld_from: None,
        })
    }

    #[test]
    fn entering_is_a_create_and_leaving_a_delete() {
        use ChangeKind::{Arrival, Departure, Event};
        let inside = || placed(&["ou_a", "ou_root"], &[]);
        let through_group = || placed(&["ou_b", "ou_root"], &["g"]);
        let outside = || placed(&["ou_b", "ou_root"], &[]);
        let update = Event(EventType::UserUpdateInfo);
        assert_eq!(event(update, inside(), inside()), Some(EventType::UserUpdateInfo));
        assert_eq!(event(update, outside(), outside()), None);
        assert_eq!(
            event(Event(EventType::UserUpdatePrimaryOu), outside(), inside()),
            Some(EventType::UserCreate)
        );
        assert_eq!(
            event(Event(EventType::UserUpdatePrimaryOu), inside(), outside()),
            Some(EventType::UserDelete)
        );
        assert_eq!(
            event(Event(EventType::UserCreate), None, inside()),
            Some(EventType::UserCreate)
        );
        assert_eq!(
            event(Event(EventType::UserDelete), inside(), None),
            Some(EventType::UserDelete)
        );
        assert_eq!(event(Departure, inside(), through_group()), None);
        assert_eq!(
            event(Arrival, outside(), through_group()),
            Some(EventType::UserCreate)
        );
        assert_eq!(event(Departure, outside(), through_group()), None);
        assert_eq!(
            event(Departure, through_group(), outside()),
            Some(EventType::UserDelete)
        );
        assert_eq!(event(Arrival, through_group(), outside()), None);
    }
}
