//! What resources there are.

use rollcall_scim::{ResourceType, schema};

/// A type of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `/Users`.
    User,
    /// `/Groups`.
    Group,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::User, Self::Group];

    /// What they are made of.
    pub fn types(self) -> &'static ResourceType {
        match self {
            Self::User => schema::user(),
            Self::Group => schema::group(),
        }
    }
}
