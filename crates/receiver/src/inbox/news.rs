//! Whether an event is news: newer than what was handled for its subject.
//!
//! A subject is a user, a unit, a group, or a user in a group; and the last deletion of a user or group,
//! which ends memberships that are older. Each has a time of its own.
//!
//! An inventory has many subjects. It is handed on after all events that were stored before it, and with
//! the ids of those added of which something newer was handled, so that a handler may remove whatever is
//! not named. Afterwards, older events of what was removed are stale.

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

/// A row of `inbox_subjects`.
pub(super) struct Subject {
    kind: &'static str,
    group_id: String,
    id: String,
}

/// The last deletion of a user or group.
const DELETION: &str = "deletion";

impl Subject {
    fn new(kind: &'static str, id: &str) -> Self {
        Self {
            kind,
            group_id: String::new(),
            id: id.to_owned(),
        }
    }

    fn member(group_id: &str, user_id: &str) -> Self {
        Self {
            kind: InventoryKind::GroupMember.as_str(),
            group_id: group_id.to_owned(),
            id: user_id.to_owned(),
        }
    }

    fn is_newer(&self, tx: &mut Tx<'_>, time: i64) -> Result<bool, DbError> {
        let row = tx.query_opt(
            "SELECT event_time FROM inbox_subjects WHERE kind = $1 AND group_id = $2 AND subject = $3",
            params![self.kind, self.group_id.as_str(), self.id.as_str()],
        )?;
        Ok(match row {
            Some(row) => row.get::<i64>(0)? > time,
            None => false,
        })
    }

    /// Moves the subject's time forward.
    pub(super) fn note(&self, tx: &mut Tx<'_>, time: i64) -> Result<(), DbError> {
        tx.execute(
            "INSERT INTO inbox_subjects (kind, group_id, subject, event_time) VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, group_id, subject) DO UPDATE SET event_time = excluded.event_time
             WHERE inbox_subjects.event_time < excluded.event_time",
            params![self.kind, self.group_id.as_str(), self.id.as_str(), time],
        )?;
        Ok(())
    }
}

pub(super) fn look(tx: &mut Tx<'_>, event: &Event) -> Result<News, DbError> {
    use EventType as T;
    let (id, time) = (event.biz_id.as_str(), event.event_time);
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
            Some(T::Inventory) => inventory(tx, event),
            _ => Ok(whole(Vec::new())),
        };
    };
    match kind {
        Some(T::UnitAddUser | T::UnitRemoveUser | T::Test | T::Inventory) | None => Ok(whole(Vec::new())),
        Some(T::GroupAddUser | T::GroupRemoveUser) => members(tx, event),
        Some(T::UserDelete | T::UnitDelete | T::GroupDelete) => {
            // A deletion that comes late still ends the memberships from before it.
            let mut news = whole(vec![Subject::new(DELETION, id)]);
            if subject.is_newer(tx, time)? {
                news.event = None;
            } else {
                news.subjects.push(subject);
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
        ) => Ok(match subject.is_newer(tx, time)? {
            true => News {
                event: None,
                subjects: Vec::new(),
                inventory: None,
            },
            false => whole(vec![subject]),
        }),
    }
}

fn members(tx: &mut Tx<'_>, event: &Event) -> Result<News, DbError> {
    let (id, time) = (event.biz_id.as_str(), event.event_time);
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
    let ended = Subject::new(DELETION, id).is_newer(tx, time)?;
    let mut joined = Vec::new();
    for user in users {
        let pair = Subject::member(id, &user);
        if !ended && !Subject::new(DELETION, &user).is_newer(tx, time)? && !pair.is_newer(tx, time)? {
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

fn inventory(tx: &mut Tx<'_>, event: &Event) -> Result<News, DbError> {
    let mut news = News {
        event: Some(event.clone()),
        subjects: Vec::new(),
        inventory: None,
    };
    let Ok(mut inventory) = InventoryPayload::from_json(&event.biz_data) else {
        return Ok(news);
    };
    for row in tx.query(
        "SELECT subject FROM inbox_subjects
         WHERE kind = $1 AND group_id = $2 AND event_time > $3 AND subject > CAST($4 AS TEXT)
           AND (CAST($5 AS TEXT) IS NULL OR subject <= CAST($5 AS TEXT))",
        params![
            inventory.kind.as_str(),
            inventory.group_id.as_deref().unwrap_or_default(),
            event.event_time,
            inventory.after.as_str(),
            inventory.through.as_deref()
        ],
    )? {
        inventory.ids.push(row.get(0)?);
    }
    inventory.ids.sort_unstable();
    inventory.ids.dedup();
    news.event = Some(Event {
        biz_data: inventory.to_json(),
        ..event.clone()
    });
    news.inventory = Some(inventory);
    Ok(news)
}

/// Makes older events stale of what an inventory does not name, once the handler has removed it.
pub(super) fn note_inventory(
    tx: &mut Tx<'_>,
    inventory: &InventoryPayload,
    time: i64,
) -> Result<(), DbError> {
    let ids = ids(tx);
    let unnamed = format!(
        "kind = CAST($4 AS TEXT) AND group_id = CAST($5 AS TEXT) AND event_time <= CAST($6 AS BIGINT)
         AND subject > CAST($2 AS TEXT) AND (CAST($3 AS TEXT) IS NULL OR subject <= CAST($3 AS TEXT))
         AND subject NOT IN (SELECT ids.value FROM {ids})"
    );
    let list = id_list(&inventory.ids);
    let (after, through) = (inventory.after.as_str(), inventory.through.as_deref());
    let group_id = inventory.group_id.as_deref().unwrap_or_default();
    let kind = inventory.kind.as_str();
    if inventory.kind != InventoryKind::GroupMember {
        tx.execute(
            &format!(
                "INSERT INTO inbox_subjects (kind, group_id, subject, event_time)
                 SELECT CAST($7 AS TEXT), '', subject, CAST($6 AS BIGINT) FROM inbox_subjects WHERE {unnamed}
                 ON CONFLICT (kind, group_id, subject) DO UPDATE SET event_time = excluded.event_time
                 WHERE inbox_subjects.event_time < excluded.event_time"
            ),
            params![&list, after, through, kind, group_id, time, DELETION],
        )?;
    }
    tx.execute(
        &format!("UPDATE inbox_subjects SET event_time = CAST($6 AS BIGINT) WHERE {unnamed}"),
        params![&list, after, through, kind, group_id, time],
    )?;
    Ok(())
}
