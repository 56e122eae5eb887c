//! Plausible records of people, organizational units and groups who do not exist.
//!
//! All that one run makes has a tag in its ids and names, by which it is recognized and removed.

use rollcall_protocol::{GroupPayload, UnitMembership, UnitPayload, UserPayload, UserStatus};

use crate::clock::Millis;
use crate::id;

/// People's names. The domain of the addresses is reserved, so that nobody gets a message.
const GIVEN: [&str; 12] = [
    "Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Frances", "Dennis", "Radia", "Ken", "Shafi",
    "Tony",
];
const FAMILY: [&str; 11] = [
    "Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth", "Allen", "Ritchie", "Perlman", "Thompson",
    "Hoare",
];

/// Makes records.
#[derive(Clone, Debug)]
pub struct Samples {
    tag: String,
    instance_id: String,
    made: usize,
    last: Millis,
}

impl Samples {
    /// Records of an instance; the tag stands in their ids, and consists of what may stand in an id.
    pub fn new(tag: impl Into<String>, instance_id: impl Into<String>) -> Self {
        Self {
            tag: tag.into(),
            instance_id: instance_id.into(),
            made: 0,
            last: 0,
        }
    }

    /// Goes on with this number, so that the same are made each time.
    pub fn go_on_with(&mut self, number: usize) {
        self.made = number.saturating_sub(1);
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The time of the next event: later than all before.
    pub fn time(&mut self, now: Millis) -> Millis {
        self.last = now.max(self.last + 1);
        self.last
    }

    fn number(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    /// An id that nothing has yet.
    pub fn id(&mut self, prefix: &str) -> String {
        let number = self.number();
        format!("{prefix}_{}_{number:04}", self.tag)
    }

    /// A user of this unit.
    pub fn user(&mut self, unit: &UnitPayload, now: Millis) -> UserPayload {
        let number = self.number();
        let (given, family) = (GIVEN[number % GIVEN.len()], FAMILY[number % FAMILY.len()]);
        let username = format!("{}-{number:04}", self.tag.replace('_', "-"));
        let user_id = format!("user_{}_{number:04}", self.tag);
        UserPayload {
            display_name: Some(format!("{given} {family} ({username})")),
            email: Some(format!("{username}@example.com")),
            username: Some(username),
            password_set: Some(false),
            phone_number: Some(format!("1555{number:07}")),
            phone_region: Some("1".to_owned()),
            phone_verified: Some(false),
            email_verified: Some(true),
            status: Some(UserStatus::Enabled),
            account_expire_time: Some(-1),
            register_time: Some(now),
            lock_expire_time: Some(-1),
            create_time: Some(now),
            update_time: Some(now),
            description: Some(String::new()),
            password: None,
            source_type: Some("build_in".to_owned()),
            source_id: Some(self.instance_id.clone()),
            external_id: Some(user_id.clone()),
            units: vec![membership(unit)],
            primary_unit_id: Some(unit.unit_id.clone()),
            custom_fields: None,
            user_id,
        }
    }

    /// An organizational unit below another.
    pub fn unit(&mut self, parent_id: &str, now: Millis) -> UnitPayload {
        let number = self.number();
        let unit_id = format!("ou_{}_{number:04}", self.tag);
        UnitPayload {
            name: Some(format!("Unit {}-{number:04}", self.tag)),
            parent_id: Some(parent_id.to_owned()),
            external_id: Some(unit_id.clone()),
            source_type: Some("build_in".to_owned()),
            source_id: Some(self.instance_id.clone()),
            description: Some(String::new()),
            create_time: Some(now),
            update_time: Some(now),
            unit_id,
        }
    }

    /// The unit below the root that everything of a run stands in.
    pub fn home(&mut self, now: Millis) -> UnitPayload {
        self.unit(id::ROOT_UNIT, now)
    }

    /// A group without members.
    pub fn group(&mut self, now: Millis) -> GroupPayload {
        let number = self.number();
        let group_id = format!("group_{}_{number:04}", self.tag);
        GroupPayload {
            name: Some(format!("Group {}-{number:04}", self.tag)),
            external_id: Some(group_id.clone()),
            source_type: Some("build_in".to_owned()),
            source_id: Some(self.instance_id.clone()),
            description: Some(String::new()),
            create_time: Some(now),
            update_time: Some(now),
            user_ids: None,
            group_id,
        }
    }
}

/// That a user stands in this unit, as the primary one.
pub fn membership(unit: &UnitPayload) -> UnitMembership {
    UnitMembership {
        id: unit.unit_id.clone(),
        name: unit.name.clone(),
        primary: true,
    }
}
