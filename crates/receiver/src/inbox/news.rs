//! Whether an event is news: newer than what was handled for its subject.
//!
//! A subject is a user, a unit or a group, by its id; a user in a group, as `group/user`; and the last
//! deletion of a subject, as `deleted:id`, which ends memberships that are older.

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::{Event, EventType, GroupPayload};

/// What remains of an event.
pub(super) struct News {
    /// The event to handle, for a membership with those users for whom it is news; `None` if it is stale.
    pub(super) event: Option<Event>,
    /// The subjects whose time it moves once it is done.
    pub(super) subjects: Vec<String>,
}

pub(super) fn look(tx: &mut Tx<'_>, event: &Event) -> Result<News, DbError> {
    use EventType as T;
    let (id, time) = (event.biz_id.as_str(), event.event_time);
    let whole = |subjects| News {
        event: Some(event.clone()),
        subjects,
    };
    match event.kind() {
        None | Some(T::Test | T::UnitAddUser | T::UnitRemoveUser) => Ok(whole(Vec::new())),
        Some(T::GroupAddUser | T::GroupRemoveUser) => members(tx, event),
        Some(T::UserDelete | T::UnitDelete | T::GroupDelete) => {
            // A deletion that comes late still ends the memberships from before it.
            let mut news = whole(vec![format!("deleted:{id}")]);
            if is_newer(tx, id, time)? {
                news.event = None;
            } else {
                news.subjects.push(id.to_owned());
            }
            Ok(news)
        }
        Some(_) if is_newer(tx, id, time)? => Ok(News {
            event: None,
            subjects: Vec::new(),
        }),
        Some(_) => Ok(whole(vec![id.to_owned()])),
    }
}

fn members(tx: &mut Tx<'_>, event: &Event) -> Result<News, DbError> {
    let (id, time) = (event.biz_id.as_str(), event.event_time);
    let mut news = News {
        event: Some(event.clone()),
        subjects: Vec::new(),
    };
    let Ok(mut group) = GroupPayload::from_json(&event.biz_data) else {
        return Ok(news);
    };
    let Some(users) = group.user_ids.take() else {
        return Ok(news);
    };
    let ended = is_newer(tx, &format!("deleted:{id}"), time)?;
    let mut joined = Vec::new();
    for user in users {
        let pair = format!("{id}/{user}");
        if !ended && !is_newer(tx, &format!("deleted:{user}"), time)? && !is_newer(tx, &pair, time)? {
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

fn is_newer(tx: &mut Tx<'_>, subject: &str, time: i64) -> Result<bool, DbError> {
    let row = tx.query_opt(
        "SELECT event_time FROM inbox_subjects WHERE subject = $1",
        params![subject],
    )?;
    Ok(match row {
        Some(row) => row.get::<i64>(0)? > time,
        None => false,
    })
}

/// Moves a subject's time forward.
pub(super) fn note(tx: &mut Tx<'_>, subject: &str, time: i64) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO inbox_subjects (subject, event_time) VALUES ($1, $2)
         ON CONFLICT (subject) DO UPDATE SET event_time = excluded.event_time
         WHERE inbox_subjects.event_time < excluded.event_time",
        params![subject, time],
    )?;
    Ok(())
}
