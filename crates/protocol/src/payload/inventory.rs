//! The record of an inventory: what an application should have (wire contract, section 5, extension).
//!
//! A full synchronization tells an application everything that it should have, and nothing of what it
//! should not: a record that the hub does not know of (after a backup was restored, a history was lost or
//! a scope was changed while the application was away) would stay for ever. So the hub closes a
//! synchronization with inventories. Each names *all* ids in a range, and the receiver removes what it
//! has in that range, that is not named, and of which it has heard nothing later than the inventory.

use serde_json::Value;

use super::{PayloadError, Reader, Writer, shorten};

/// What an inventory lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InventoryKind {
    /// Users, by their ids.
    User,
    /// Organizational units, by their ids.
    Unit,
    /// Groups, by their ids.
    Group,
    /// The members of one group, by the ids of the users.
    GroupMember,
}

impl InventoryKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::User, Self::Unit, Self::Group, Self::GroupMember];

    /// `user`, `organizational_unit`, `group` or `group_member`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Unit => "organizational_unit",
            Self::Group => "group",
            Self::GroupMember => "group_member",
        }
    }

    /// Reads what [`InventoryKind::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The complete list of the ids that an application should have in the range
/// `after < id <= through`, in the order of the ids' bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryPayload {
    /// What is listed.
    pub kind: InventoryKind,
    /// The group whose members are listed; only, and always, with [`InventoryKind::GroupMember`].
    pub group_id: Option<String>,
    /// The range begins after this id; empty: at the beginning.
    pub after: String,
    /// The range ends with this id; `None`: at the end.
    pub through: Option<String>,
    /// The ids. Whatever else the receiver has in the range is to be removed.
    pub ids: Vec<String>,
}

impl InventoryPayload {
    /// Whether an id lies in the range.
    pub fn covers(&self, id: &str) -> bool {
        id > self.after.as_str() && self.through.as_deref().is_none_or(|through| id <= through)
    }

    /// Writes the record.
    pub fn to_json(&self) -> String {
        let Self {
            kind,
            group_id,
            after,
            through,
            ids,
        } = self;
        let mut out = Writer::default();
        out.str("subjectKind", Some(kind.as_str()));
        out.text("groupId", group_id.as_ref());
        out.text("after", Some(after));
        out.text("through", through.as_ref());
        out.texts("ids", ids);
        out.finish()
    }

    /// Reads a record. It is read strictly, since what is not named gets removed: the list of ids and the
    /// range's beginning must be there, every id must lie in the range, and a group must be named with
    /// [`InventoryKind::GroupMember`] and with nothing else.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub fn from_json(text: &str) -> Result<Self, PayloadError> {
        let object = Reader::parse(text)?;
        let unreadable = |field: &str, value: &str| PayloadError::Unreadable {
            field: field.to_owned(),
            value: shorten(&Value::from(value)),
        };
        let kind = object.id("subjectKind")?;
        let inventory = Self {
            kind: InventoryKind::parse(&kind).ok_or_else(|| unreadable("subjectKind", &kind))?,
            group_id: object.text(&["groupId"])?,
            after: object.text(&["after"])?.ok_or(PayloadError::Missing("after"))?,
            through: object.text(&["through"])?,
            ids: object.list("ids")?.ok_or(PayloadError::Missing("ids"))?,
        };
        match (&inventory.group_id, inventory.kind == InventoryKind::GroupMember) {
            (None, false) => {}
            (Some(group), true) if !group.is_empty() => {}
            (_, true) => return Err(PayloadError::Missing("groupId")),
            (Some(group), false) => return Err(unreadable("groupId", group)),
        }
        match inventory.ids.iter().find(|id| !inventory.covers(id)) {
            Some(id) => Err(unreadable("ids", id)),
            None => Ok(inventory),
        }
    }
}
