//! Those whom events are about, and what an event of each type says of them.

use rollcall_protocol::{
    EventType as T, GroupPayload, InventoryKind, InventoryPayload, Password, UnitPayload, UserPayload,
    UserStatus,
};

use super::sample::{Samples, membership};
use crate::clock::Millis;
use crate::id;

/// When a lock ends that only somebody ends (wire contract, section 4).
const UNTIL_SOMEBODY_UNLOCKS: Millis = 253_402_214_400_000;

/// A user, an organizational unit and a group.
#[derive(Clone, Debug)]
pub struct Cast {
    /// The unit that the user stands in at first.
    pub home: UnitPayload,
    /// The user.
    pub user: UserPayload,
    /// Another unit, below the root at first.
    pub unit: UnitPayload,
    /// The group, of which the user becomes a member.
    pub group: GroupPayload,
}

impl Cast {
    /// Makes them.
    pub fn new(samples: &mut Samples, home: &UnitPayload, now: Millis) -> Self {
        Self {
            home: home.clone(),
            user: samples.user(home, now),
            unit: samples.unit(id::ROOT_UNIT, now),
            group: samples.group(now),
        }
    }

    /// What an event of this type is about, and its record; the instance's id is that of events that are about nobody.
    pub fn record(&self, kind: T, instance_id: &str) -> (String, String) {
        let user = |change: fn(&mut UserPayload)| {
            let mut user = self.user.clone();
            change(&mut user);
            (user.user_id.clone(), user.to_json())
        };
        let unit = |change: &dyn Fn(&mut UnitPayload)| {
            let mut unit = self.unit.clone();
            change(&mut unit);
            (unit.unit_id.clone(), unit.to_json())
        };
        let group = |change: &dyn Fn(&mut GroupPayload)| {
            let mut group = self.group.clone();
            change(&mut group);
            (group.group_id.clone(), group.to_json())
        };
        match kind {
            T::Test => (instance_id.to_owned(), "{}".to_owned()),
            T::UserCreate | T::UserPush | T::UserDelete | T::UserEnable | T::UserUnlock => user(|_| {}),
            T::UserUpdateInfo => user(|user| {
                user.description = Some("changed".to_owned());
                let name = user.display_name.take().unwrap_or_default();
                user.display_name = Some(format!("{name}, changed"));
            }),
            T::UserUpdatePassword => user(|user| {
                user.password = Some(Password::from("correct horse battery staple".to_owned()));
                user.password_set = Some(true);
            }),
            T::UserDisable => user(|user| user.status = Some(UserStatus::Disabled)),
            T::UserLock => user(|user| user.lock_expire_time = Some(UNTIL_SOMEBODY_UNLOCKS)),
            T::UserUpdatePrimaryOu => {
                let mut user = self.user.clone();
                user.units = vec![membership(&self.unit)];
                user.primary_unit_id = Some(self.unit.unit_id.clone());
                (user.user_id.clone(), user.to_json())
            }
            T::UnitCreate | T::UnitPush | T::UnitDelete => unit(&|_| {}),
            T::UnitUpdate => unit(&|unit| unit.description = Some("changed".to_owned())),
            T::UnitUpdateParent => unit(&|unit| unit.parent_id = Some(self.home.unit_id.clone())),
            T::UnitAddUser | T::UnitRemoveUser => {
                let (id, record) = unit(&|_| {});
                let users = serde_json::json!([self.user.user_id]);
                let record = record.trim_end_matches('}');
                (id, format!("{record},\"userIds\":{users}}}"))
            }
            T::GroupCreate | T::GroupDelete => group(&|_| {}),
            T::GroupUpdate => group(&|group| group.description = Some("changed".to_owned())),
            T::GroupAddUser | T::GroupRemoveUser => {
                group(&|group| group.user_ids = Some(vec![self.user.user_id.clone()]))
            }
            T::Inventory => {
                // The range holds this user alone, who is named: nobody may be removed by it.
                let inventory = InventoryPayload {
                    kind: InventoryKind::User,
                    group_id: None,
                    after: just_before(&self.user.user_id),
                    through: Some(self.user.user_id.clone()),
                    ids: vec![self.user.user_id.clone()],
                };
                (instance_id.to_owned(), inventory.to_json())
            }
        }
    }
}

/// The types of the events that come before one of this type in the life of those whom it is about, in their order.
pub fn before(kind: T) -> &'static [T] {
    match kind {
        T::Test | T::UserCreate | T::UserPush | T::UnitCreate | T::UnitPush | T::GroupCreate => &[],
        T::UserDelete
        | T::UserUpdateInfo
        | T::UserUpdatePassword
        | T::UserDisable
        | T::UserEnable
        | T::UserLock
        | T::UserUnlock
        | T::Inventory => &[T::UserCreate],
        T::UserUpdatePrimaryOu | T::UnitAddUser | T::UnitRemoveUser => &[T::UnitCreate, T::UserCreate],
        T::UnitDelete | T::UnitUpdate | T::UnitUpdateParent => &[T::UnitCreate],
        T::GroupUpdate | T::GroupDelete => &[T::GroupCreate],
        T::GroupAddUser => &[T::UserCreate, T::GroupCreate],
        T::GroupRemoveUser => &[T::UserCreate, T::GroupCreate, T::GroupAddUser],
    }
}

/// The beginning of a range that holds this id alone, which ends with a digit.
fn just_before(id: &str) -> String {
    let mut before = id.to_owned();
    let last = before.pop().map_or(b'0', |last| last as u8);
    before.push(char::from(last.saturating_sub(1)));
    // It sorts behind every letter and digit.
    before.push('~');
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_one_that_receivers_read() {
        let mut samples = Samples::new("x", "idaas_1");
        let home = samples.home(1);
        let cast = Cast::new(&mut samples, &home, 1);
        for kind in T::ALL {
            let (biz_id, record) = cast.record(*kind, "idaas_1");
            match kind.subject_kind() {
                Some(rollcall_protocol::SubjectKind::User) => {
                    assert_eq!(UserPayload::from_json(&record).unwrap().user_id, biz_id);
                }
                Some(rollcall_protocol::SubjectKind::Unit) => {
                    assert_eq!(UnitPayload::from_json(&record).unwrap().unit_id, biz_id);
                }
                Some(rollcall_protocol::SubjectKind::Group) => {
                    assert_eq!(GroupPayload::from_json(&record).unwrap().group_id, biz_id);
                }
                None => assert_eq!(biz_id, "idaas_1"),
            }
        }
        let (_, record) = cast.record(T::Inventory, "idaas_1");
        let inventory = InventoryPayload::from_json(&record).unwrap();
        assert!(inventory.covers(&cast.user.user_id));
        for number in (0..30).filter(|number| *number != 2) {
            assert!(!inventory.covers(&format!("user_x_{number:04}")), "{inventory:?}");
        }
    }
}
