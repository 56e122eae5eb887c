//! The closing inventory of a full synchronization.
//!
//! A push tells what is there. It cannot tell what is not: somebody whom the application has and the hub does not
//! know, because the hub was restored from a backup, or because its history was lost. The inventory names, range
//! by range, everything that the application should have. An application that understands it (our receiver
//! does) removes what else it has in the range, unless that is newer. Others skip it, and then the rest of it
//! is not sent.

use rollcall_db::{DbError, Tx};
use rollcall_protocol::{EventType, InventoryKind, InventoryPayload, SubjectKind};

use super::PAGE;
use crate::application::Entitlement;
use crate::delivery::model::job::{Listed, Phase};
use crate::directory::query;

/// How many ids one inventory names.
const IDS: usize = 5_000;

impl Listed {
    fn next(self) -> Option<Self> {
        match self {
            Self::Members => Some(Self::Groups),
            Self::Groups => Some(Self::Users),
            Self::Users => Some(Self::Units),
            Self::Units => None,
        }
    }

    /// Whether the application was pushed this kind, so that it can be told what should be there.
    fn is_told(self, entitlement: &Entitlement) -> bool {
        let event = match self {
            Self::Members => EventType::GroupAddUser,
            Self::Groups => EventType::GroupCreate,
            Self::Users => EventType::UserPush,
            Self::Units => EventType::UnitPush,
        };
        entitlement.subscription.contains(event)
    }
}

/// Where the inventory begins.
pub(super) fn beginning() -> Phase {
    of(Listed::Members)
}

fn of(kind: Listed) -> Phase {
    Phase::Closing {
        of: kind,
        group: None,
        after: String::new(),
    }
}

/// The inventory that follows, if one does, and the phase after it.
pub(super) fn read(
    tx: &mut Tx<'_>,
    entitlement: &Entitlement,
    kind: Listed,
    group: Option<&str>,
    after: &str,
) -> Result<(Option<InventoryPayload>, Phase), DbError> {
    let next_kind = || kind.next().map_or(Phase::Done, of);
    if !kind.is_told(entitlement) {
        return Ok((None, next_kind()));
    }
    let scope = &entitlement.scope;
    match kind {
        Listed::Members => {
            // An empty `after` begins the next group; otherwise the one at hand goes on.
            let current = match group {
                Some(group) if !after.is_empty() => Some(group.to_owned()),
                _ => next_group(tx, entitlement, group)?,
            };
            let Some(current) = current else {
                return Ok((None, next_kind()));
            };
            let ids = query::members_after(tx, &current, after, IDS)?;
            let payload = inventory(InventoryKind::GroupMember, Some(current.clone()), after, ids);
            let then = Phase::Closing {
                of: kind,
                group: Some(current),
                after: payload.through.clone().unwrap_or_default(),
            };
            Ok((Some(payload), then))
        }
        Listed::Groups | Listed::Users | Listed::Units => {
            let (subject, listed) = match kind {
                Listed::Users => (SubjectKind::User, InventoryKind::User),
                Listed::Groups => (SubjectKind::Group, InventoryKind::Group),
                Listed::Units | Listed::Members => (SubjectKind::Unit, InventoryKind::Unit),
            };
            let ids = if scope.is_everything() {
                query::ids_after(tx, subject, after, IDS)?
            } else {
                covered_after(tx, entitlement, subject, after)?
            };
            let payload = inventory(listed, None, after, ids);
            let then = match &payload.through {
                Some(through) => Phase::Closing {
                    of: kind,
                    group: None,
                    after: through.clone(),
                },
                None => next_kind(),
            };
            Ok((Some(payload), then))
        }
    }
}

/// A range that ends with its last id if it is full, and at the end otherwise.
fn inventory(
    kind: InventoryKind,
    group_id: Option<String>,
    after: &str,
    ids: Vec<String>,
) -> InventoryPayload {
    let through = if ids.len() == IDS {
        ids.last().cloned()
    } else {
        None
    };
    InventoryPayload {
        kind,
        group_id,
        after: after.to_owned(),
        through,
        ids,
    }
}

fn next_group(
    tx: &mut Tx<'_>,
    entitlement: &Entitlement,
    after: Option<&str>,
) -> Result<Option<String>, DbError> {
    let mut after = after.map(str::to_owned);
    loop {
        let page = query::groups_page(tx, after.as_deref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(None) };
        after = Some(last.id.clone());
        let found = page
            .into_iter()
            .find(|row| entitlement.scope.covers(SubjectKind::Group, &row.placement));
        if let Some(found) = found {
            return Ok(Some(found.id));
        }
    }
}

fn covered_after(
    tx: &mut Tx<'_>,
    entitlement: &Entitlement,
    kind: SubjectKind,
    after: &str,
) -> Result<Vec<String>, DbError> {
    let scope = &entitlement.scope;
    let mut ids = Vec::new();
    if kind == SubjectKind::Unit {
        // Units are read top-down, and there are few: they all go through here at once.
        let mut cursor: Option<query::UnitCursor> = None;
        loop {
            let rows = query::units_page(tx, cursor.as_ref(), PAGE)?;
            let Some((_, last)) = rows.last() else { break };
            cursor = Some(last.clone());
            let covered = rows.into_iter().map(|(row, _)| row);
            ids.extend(
                covered
                    .filter(|row| scope.covers(kind, &row.placement))
                    .map(|row| row.id),
            );
        }
        ids.retain(|id| id.as_str() > after);
        ids.sort_unstable();
        ids.truncate(IDS);
        return Ok(ids);
    }
    let mut after = after.to_owned();
    while ids.len() < IDS {
        let from = Some(after.as_str()).filter(|after| !after.is_empty());
        let rows = match kind {
            SubjectKind::User => query::users_page(tx, from, PAGE, true)?,
            SubjectKind::Group | SubjectKind::Unit => query::groups_page(tx, from, PAGE)?,
        };
        let Some(last) = rows.last() else { break };
        after.clone_from(&last.id);
        ids.extend(
            rows.into_iter()
                .filter(|row| scope.covers(kind, &row.placement))
                .map(|row| row.id),
        );
    }
    ids.truncate(IDS);
    Ok(ids)
}
