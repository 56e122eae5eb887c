//! Whether an event is news: newer than what was handled for its subject.
//!
//! A subject is a user, a unit, a group, or a user in a group; and the last deletion of a user or group,
//! which ends memberships that are older. Each has a time of its own. Of two events of the same time, as
//! a clock that was set back makes many, the one that was stored later is the newer. But a membership that is stored
//! after a deletion of the same time may have waited for that: it counts only if its user and its group are there.
//!
//! An inventory has many subjects. It is handed on after all events that were stored before it, and as if it
//! told of the present: those are added to it of whom something newer was handled, and those are taken out
//! who are gone since. So a handler may remove whatever is not named, and add the members that are.
//! Afterwards, older events of what was removed are stale. So are those of whom the inbox has never heard: an
//! inventory's range is remembered (`inbox_inventories`), and whoever it does not name counts as gone since then.
//! Whoever it names has a row, so that this does not hold for them.

use std::collections::BTreeSet;

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::{Event, EventType, GroupPayload, InventoryKind, InventoryPayload};

use crate::schema::{id_list, ids};

/// What remains of an event.
pub(super) struct News {
    /// The event to handle, for a membership with those users for whom it is news; `None` if it is stale.
    pub(super) event: Option<Event>,
    /// The subjects whose time it moves once it is done.
    pub(super) subjects: Vec<Subject>,
    /// The inventory that it is.
    pub(super) inventory: Option<InventoryPayload>,
}

/// When an event happened: its time, and its place among those of the same time.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Unix milliseconds.
    pub(super) time: i64,
    /// The number under which the event is stored.
    pub(super) stored: i64,
}

/// A row of `inbox_subjects`.
pub(super) struct Subject {
    kind: &'static str,
    group_id: String,
    id: String,
    /// Whether the event says that it is gone.
    gone: bool,
}

/// What becomes of a subject that is known: its time only moves forward.
const FORWARD: &str = "ON CONFLICT (kind, group_id, subject) DO UPDATE
    SET event_time = excluded.event_time, stored = excluded.stored, gone = excluded.gone
    WHERE inbox_subjects.event_time < excluded.event_time
       OR inbox_subjects.event_time = excluded.event_time AND inbox_subjects.stored < excluded.stored";

/// The last deletion of a user or group.
const DELETION: &str = "deletion";

impl Subject {
    fn new(kind: &'static str, id: &str) -> Self {
        Self {
            kind,
            group_id: String::new(),
            id: id.to_owned(),
            gone: false,
        }
    }

    fn member(group_id: &str, user_id: &str) -> Self {
        Self {
            group_id: group_id.to_owned(),
            ..Self::new(InventoryKind::GroupMember.as_str(), user_id)
        }
    }

    fn is_newer(&self, tx: &mut Tx<'_>, than: Moment) -> Result<bool, DbError> {
        let row = tx.query_opt(
            "SELECT 1 FROM inbox_subjects WHERE kind = $1 AND group_id = $2 AND subject = $3
             AND (event_time > $4 OR event_time = $4 AND stored > $5)",
            params![
                self.kind,
                self.group_id.as_str(),
                self.id.as_str(),
                than.time,
                than.stored
            ],
        )?;
        Ok(row.is_some())
    }

    /// Whether nothing is known of the subject but that a later inventory does not name it.
    fn is_gone_since(&self, tx: &mut Tx<'_>, than: Moment) -> Result<bool, DbError> {
        let covered = tx.query_opt(
            "SELECT 1 FROM inbox_inventories
             WHERE kind = $1 AND group_id = $2 AND event_time > $4 AND after_id < CAST($3 AS TEXT)
               AND (through_id IS NULL OR through_id >= CAST($3 AS TEXT))
               AND NOT EXISTS (SELECT 1 FROM inbox_subjects WHERE kind = $1 AND group_id = $2 AND subject = $3)
             LIMIT 1",
            params![self.kind, self.group_id.as_str(), self.id.as_str(), than.time],
        )?;
        Ok(covered.is_some())
    }

    /// Whether the subject is gone, and was last heard of at this time.
    fn is_gone_as_of(&self, tx: &mut Tx<'_>, time: i64) -> Result<bool, DbError> {
        let row = tx.query_opt(
            "SELECT 1 FROM inbox_subjects
             WHERE kind = $1 AND group_id = $2 AND subject = $3 AND event_time = $4 AND gone = $5",
            params![self.kind, self.group_id.as_str(), self.id.as_str(), time, true],
        )?;
        Ok(row.is_some())
    }

    /// Whether the event is old news of the subject.
    fn is_past(&self, tx: &mut Tx<'_>, than: Moment) -> Result<bool, DbError> {
        Ok(self.is_newer(tx, than)? || self.is_gone_since(tx, than)?)
    }

    /// Moves the subject's time forward.
    pub(super) fn note(&self, tx: &mut Tx<'_>, at: Moment) -> Result<(), DbError> {
        tx.execute(
            &format!(
                "INSERT INTO inbox_subjects (kind, group_id, subject, event_time, stored, gone)
                 VALUES ($1, $2, $3, $4, $5, $6) {FORWARD}"
            ),
            params![
                self.kind,
                self.group_id.as_str(),
                self.id.as_str(),
                at.time,
                at.stored,
                self.gone
            ],
        )?;
        Ok(())
    }
}

/// Looks at an event that is stored under a number.
pub(super) fn look(tx: &mut Tx<'_>, event: &Event, stored: i64) -> Result<News, DbError> {
    use EventType as T;
    let id = event.biz_id.as_str();
    let at = Moment {
        time: event.event_time,
        stored,
    };
    let whole = |subjects| News {
        event: Some(event.clone()),
        subjects,
        inventory: None,
    };
    let kind = event.kind();
    let Some(subject) = kind
        .and_then(T::subject_kind)
        .map(|kind| Subject::new(kind.as_str(), id))
    else {
        return match kind {
            Some(T::Inventory) => inventory(tx, event, at),
            _ => Ok(whole(Vec::new())),
        };
    };
    match kind {
        Some(T::UnitAddUser | T::UnitRemoveUser | T::Test | T::Inventory) | None => Ok(whole(Vec::new())),
        Some(T::GroupAddUser | T::GroupRemoveUser) => members(tx, event, at),
        Some(T::UserDelete | T::UnitDelete | T::GroupDelete) => {
            // A deletion that comes late still ends the memberships from before it.
            let mut news = whole(vec![Subject::new(DELETION, id)]);
            if subject.is_past(tx, at)? {
                news.event = None;
            } else {
                news.subjects.push(Subject {
                    gone: true,
                    ..subject
                });
            }
            Ok(news)
        }
        // Each of these carries the whole record, so the newest is all that counts.
        Some(
            T::UserCreate
            | T::UserUpdateInfo
            | T::UserUpdatePassword
            | T::UserDisable
            | T::UserEnable
            | T::UserLock
            | T::UserUnlock
            | T::UserUpdatePrimaryOu
            | T::UserPush
            | T::UnitCreate
            | T::UnitUpdate
            | T::UnitUpdateParent
            | T::UnitPush
            | T::GroupCreate
            | T::GroupUpdate,
        ) => Ok(match subject.is_past(tx, at)? {
            true => News {
                event: None,
                subjects: Vec::new(),
                inventory: None,
            },
            false => whole(vec![subject]),
        }),
    }
}

/// Whether a user or group was deleted later than this, or at the same time and has not come back.
fn has_ended(tx: &mut Tx<'_>, kind: InventoryKind, id: &str, than: Moment) -> Result<bool, DbError> {
    let subject = Subject::new(kind.as_str(), id);
    Ok(Subject::new(DELETION, id).is_newer(tx, than)?
        || subject.is_gone_since(tx, than)?
        || subject.is_gone_as_of(tx, than.time)?)
}

fn members(tx: &mut Tx<'_>, event: &Event, at: Moment) -> Result<News, DbError> {
    let id = event.biz_id.as_str();
    let mut news = News {
        event: Some(event.clone()),
        subjects: Vec::new(),
        inventory: None,
    };
    let Ok(mut group) = GroupPayload::from_json(&event.biz_data) else {
        return Ok(news);
    };
    let Some(users) = group.user_ids.take() else {
        return Ok(news);
    };
    let ended = has_ended(tx, InventoryKind::Group, id, at)?;
    let gone = event.kind() == Some(EventType::GroupRemoveUser);
    let mut joined = Vec::new();
    for user in users {
        let pair = Subject {
            gone,
            ..Subject::member(id, &user)
        };
        if !ended && !has_ended(tx, InventoryKind::User, &user, at)? && !pair.is_past(tx, at)? {
            joined.push(user);
            news.subjects.push(pair);
        }
    }
    news.event = (!joined.is_empty()).then(|| {
        group.user_ids = Some(joined);
        Event {
            biz_data: group.to_json(),
            ..event.clone()
        }
    });
    Ok(news)
}

fn inventory(tx: &mut Tx<'_>, event: &Event, at: Moment) -> Result<News, DbError> {
    let mut news = News {
        event: Some(event.clone()),
        subjects: Vec::new(),
        inventory: None,
    };
    let Ok(mut inventory) = InventoryPayload::from_json(&event.biz_data) else {
        return Ok(news);
    };
    let mut named: BTreeSet<String> = std::mem::take(&mut inventory.ids).into_iter().collect();
    if inventory.kind == InventoryKind::GroupMember {
        let group = inventory.group_id.as_deref().unwrap_or_default();
        if has_ended(tx, InventoryKind::Group, group, at)? {
            news.event = None;
            return Ok(news);
        }
        let list = id_list(&named.iter().collect::<Vec<_>>());
        let deleted = format!(
            "SELECT subject FROM inbox_subjects
             WHERE kind = $2 AND group_id = '' AND (event_time > $3 OR event_time = $3 AND stored > $4)
               AND subject IN (SELECT ids.value FROM {})",
            ids(tx)
        );
        for row in tx.query(&deleted, params![&list, DELETION, at.time, at.stored])? {
            named.remove(&row.get::<String>(0)?);
        }
    }
    for row in tx.query(
        "SELECT subject, gone FROM inbox_subjects
         WHERE kind = $1 AND group_id = $2 AND (event_time > $3 OR event_time = $3 AND stored > $6)
           AND subject > CAST($4 AS TEXT) AND (CAST($5 AS TEXT) IS NULL OR subject <= CAST($5 AS TEXT))",
        params![
            inventory.kind.as_str(),
            inventory.group_id.as_deref().unwrap_or_default(),
            at.time,
            inventory.after.as_str(),
            inventory.through.as_deref(),
            at.stored
        ],
    )? {
        let subject: String = row.get(0)?;
        if row.get(1)? {
            named.remove(&subject);
        } else {
            named.insert(subject);
        }
    }
    inventory.ids = named.into_iter().collect();
    news.event = Some(Event {
        biz_data: inventory.to_json(),
        ..event.clone()
    });
    news.inventory = Some(inventory);
    Ok(news)
}

/// Makes older events stale of what an inventory does not name, and of the members that it names, once the handler has
/// removed the one and added the other.
pub(super) fn note_inventory(
    tx: &mut Tx<'_>,
    inventory: &InventoryPayload,
    at: Moment,
    now: i64,
) -> Result<(), DbError> {
    let ids = ids(tx);
    let unnamed = format!(
        "kind = CAST($4 AS TEXT) AND group_id = CAST($5 AS TEXT)
         AND (event_time < CAST($6 AS BIGINT) OR event_time = CAST($6 AS BIGINT) AND stored < CAST($7 AS BIGINT))
         AND subject > CAST($2 AS TEXT) AND (CAST($3 AS TEXT) IS NULL OR subject <= CAST($3 AS TEXT))
         AND subject NOT IN (SELECT ids.value FROM {ids})"
    );
    let list = id_list(&inventory.ids);
    let (after, through) = (inventory.after.as_str(), inventory.through.as_deref());
    let group_id = inventory.group_id.as_deref().unwrap_or_default();
    let kind = inventory.kind.as_str();
    if inventory.kind == InventoryKind::GroupMember {
        tx.execute(
            &format!(
                "INSERT INTO inbox_subjects (kind, group_id, subject, event_time, stored, gone)
                 SELECT CAST($2 AS TEXT), CAST($3 AS TEXT), ids.value, CAST($4 AS BIGINT), CAST($5 AS BIGINT), FALSE
                 FROM {ids} WHERE TRUE
                 {FORWARD}"
            ),
            params![&list, kind, group_id, at.time, at.stored],
        )?;
    } else {
        // Older than everything: whatever comes for these is news.
        tx.execute(
            &format!(
                "INSERT INTO inbox_subjects (kind, group_id, subject, event_time, stored, gone)
                 SELECT CAST($2 AS TEXT), '', ids.value, CAST($3 AS BIGINT), 0, FALSE FROM {ids} WHERE TRUE
                 ON CONFLICT (kind, group_id, subject) DO NOTHING"
            ),
            params![&list, kind, i64::MIN],
        )?;
        tx.execute(
            &format!(
                "INSERT INTO inbox_subjects (kind, group_id, subject, event_time, stored, gone)
                 SELECT CAST($8 AS TEXT), '', subject, CAST($6 AS BIGINT), CAST($7 AS BIGINT), TRUE
                 FROM inbox_subjects WHERE {unnamed}
                 {FORWARD}"
            ),
            params![
                &list, after, through, kind, group_id, at.time, at.stored, DELETION
            ],
        )?;
    }
    tx.execute(
        &format!(
            "UPDATE inbox_subjects
             SET event_time = CAST($6 AS BIGINT), stored = CAST($7 AS BIGINT), gone = TRUE WHERE {unnamed}"
        ),
        params![&list, after, through, kind, group_id, at.time, at.stored],
    )?;
    // A later range stands for the earlier ones that it covers.
    tx.execute(
        "DELETE FROM inbox_inventories
         WHERE kind = $1 AND group_id = $2 AND event_time <= $3 AND after_id >= CAST($4 AS TEXT)
           AND (CAST($5 AS TEXT) IS NULL OR through_id <= CAST($5 AS TEXT))",
        params![kind, group_id, at.time, after, through],
    )?;
    tx.execute(
        "INSERT INTO inbox_inventories (kind, group_id, after_id, through_id, event_time, received_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![kind, group_id, after, through, at.time, now],
    )?;
    Ok(())
}
