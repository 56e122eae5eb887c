//! Where a subject stands. Scopes, authorities and the change log all speak of it.

use std::collections::BTreeSet;

use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};

use crate::id::ROOT_UNIT;

/// Where a subject stands: all organizational units that contain it, at any height (a unit counts
/// itself), and the groups it belongs to (a group counts itself).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Ids of organizational units, in no particular order, without repetition.
    pub units: Vec<String>,
    /// Ids of groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl Placement {
    /// Whether a subject of this kind that stands there is among what these units contain, at any height, and
    /// these groups. A group is if it is named, or if the root unit is, which means the whole directory.
    pub fn is_within(&self, kind: SubjectKind, units: &BTreeSet<String>, groups: &BTreeSet<String>) -> bool {
        (kind == SubjectKind::Group && units.contains(ROOT_UNIT))
            || self.units.iter().any(|unit| units.contains(unit))
            || self.groups.iter().any(|group| groups.contains(group))
    }
}
