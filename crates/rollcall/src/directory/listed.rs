//! Which subjects are in a list that is ordered by id: where they stand, and what narrows it; and the statement that
//! reads their ids, from one id to another.

use std::collections::BTreeSet;

use rollcall_db::Value;
use rollcall_protocol::SubjectKind;

use super::fields::{Source, fold};
use super::inside::Inside;

/// Where the subjects of a list stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// All users.
    Users,
    /// The users directly in a unit.
    UsersOfUnit(String),
    /// The members of a group.
    UsersOfGroup(String),
    /// The users within some units, at any depth, and some groups.
    UsersWithin {
        units: BTreeSet<String>,
        groups: BTreeSet<String>,
    },
    /// All groups.
    Groups,
    /// The units directly below one; `None` for all units.
    Units(Option<String>),
}

/// What a subject must be like to be in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// A column has this value.
    Is(&'static str, String),
    /// A column begins so.
    Begins(&'static str, String),
    /// It bears this external id, be it its own id because it was given no other.
    ExternalId(String),
    /// It is one of these.
    Ids(BTreeSet<String>),
}

/// What narrows a list. All of it has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowed(Vec<Condition>);

impl Narrowed {
    fn is(&mut self, column: &'static str, value: Option<String>) {
        self.0.extend(value.map(|value| Condition::Is(column, value)));
    }

    fn begins(&mut self, column: &'static str, value: Option<String>) {
        self.0.extend(value.map(|value| Condition::Begins(column, value)));
    }

    /// Only users who may sign in, or only others.
    pub fn enabled(&mut self, is_enabled: Option<bool>) {
        let status = is_enabled.map(|is_enabled| if is_enabled { "enabled" } else { "disabled" });
        self.is("status", status.map(str::to_owned));
    }

    /// Only users whose username begins so, whatever its case.
    pub fn username_begins(&mut self, text: Option<String>) {
        self.begins("username_folded", text.map(|text| fold(&text)));
    }

    /// Only users whose display name begins so, written like this.
    pub fn display_name_begins(&mut self, text: Option<String>) {
        self.begins("display_name", text);
    }

    /// Only the user of this email address, whatever its case.
    pub fn email(&mut self, email: Option<String>) {
        self.is("email_folded", email.map(|email| fold(&email)));
    }

    /// Only users of this phone number, or of this country.
    pub fn phone(&mut self, region: Option<String>, number: Option<String>) {
        self.is("phone_region", region);
        self.is("phone_number", number);
    }

    /// Only groups or units whose name begins so, whatever its case.
    pub fn name_begins(&mut self, text: Option<String>) {
        self.begins("name_folded", text.map(|text| fold(&text)));
    }

    /// Only groups or units of this name, whatever its case.
    pub fn name(&mut self, name: Option<String>) {
        self.is("name_folded", name.map(|name| fold(&name)));
    }

    /// Only subjects that bear this external id.
    pub fn external_id(&mut self, id: Option<String>) {
        self.0.extend(id.map(Condition::ExternalId));
    }

    /// Only subjects from sources of this type.
    pub fn source_type(&mut self, source_type: Option<String>) {
        self.is("source_type", source_type);
    }

    /// Only subjects from the source of this id, which of the hub itself is the instance's.
    pub fn source_id(&mut self, id: Option<String>, instance_id: &str) {
        let own = |id: String| match id == instance_id {
            true => Source::default().source_id,
            false => id,
        };
        self.is("source_id", id.map(own));
    }

    /// Only these.
    pub fn ids(&mut self, ids: Option<BTreeSet<String>>) {
        self.0.extend(ids.map(Condition::Ids));
    }

    /// Whether nothing narrows the list.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it leaves so few that reading all of their ids is soon done.
    pub(super) fn leaves_few(&self) -> bool {
        self.0.iter().any(|condition| match condition {
            Condition::Is(column, _) => ["email_folded", "phone_number", "name_folded"].contains(column),
            Condition::ExternalId(_) | Condition::Ids(_) => true,
            Condition::Begins(..) => false,
        })
    }

    /// What a statement says of it about the subject `x`.
    fn write<'a>(&'a self, values: &mut Vec<Value<'a>>) -> String {
        let mut sql = String::new();
        let mut number = |value: Value<'a>| {
            values.push(value);
            values.len()
        };
        for condition in &self.0 {
            let text = match condition {
                Condition::Is(column, value) => format!("x.{column} = ${}", number(value.into())),
                Condition::Begins(column, beginning) => {
                    let length = i64::try_from(beginning.chars().count()).unwrap_or(i64::MAX);
                    let (length, beginning) = (number(length.into()), number(beginning.into()));
                    format!("substr(x.{column}, 1, ${length}) = ${beginning}")
                }
                Condition::ExternalId(id) => {
                    let (id, itself) = (number(id.into()), number(Source::default().source_type.into()));
                    format!(
                        "(x.external_id = ${id} OR (x.external_id IS NULL AND x.source_type = ${itself} AND x.id = ${id}))"
                    )
                }
                Condition::Ids(ids) if ids.is_empty() => "1 = 0".to_owned(),
                Condition::Ids(ids) => {
                    let places: Vec<String> =
                        ids.iter().map(|id| format!("${}", number(id.into()))).collect();
                    format!("x.id IN ({})", places.join(", "))
                }
            };
            sql.push_str(" AND ");
            sql.push_str(&text);
        }
        sql
    }
}

/// A part of a list, by ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    /// Only from this id on; empty for all.
    pub from: String,
    /// Not the first id itself.
    pub is_after: bool,
    /// Only before this id.
    pub to: Option<String>,
}

impl Range {
    fn write<'a>(&'a self, column: &str, values: &mut Vec<Value<'a>>) -> String {
        let mut sql = String::new();
        if !self.from.is_empty() {
            values.push(Value::from(&self.from));
            let sign = if self.is_after { ">" } else { ">=" };
            sql = format!(" AND {column} {sign} ${}", values.len());
        }
        if let Some(to) = &self.to {
            values.push(Value::from(to));
            sql.push_str(&format!(" AND {column} < ${}", values.len()));
        }
        sql
    }
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    pub of: Of,
    pub only: Narrowed,
}

impl List {
    /// What the subjects are.
    pub(super) fn kind(&self) -> SubjectKind {
        match self.of {
            Of::Groups => SubjectKind::Group,
            Of::Units(_) => SubjectKind::Unit,
            Of::Users | Of::UsersOfUnit(_) | Of::UsersOfGroup(_) | Of::UsersWithin { .. } => {
                SubjectKind::User
            }
        }
    }

    /// Whether nobody comes and goes but those who are made and deleted.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.of, Of::Users | Of::Groups) && self.only.is_nothing()
    }

    /// The statement that reads the ids of a part of it, each once, and its parameters. The order is left open.
    pub(super) fn ids<'a>(&'a self, range: &'a Range) -> (String, Vec<Value<'a>>) {
        let mut values = Vec::new();
        let sql = match &self.of {
            Of::Users => self.of_table("users", "", range, &mut values),
            Of::Groups => self.of_table("groups", "", range, &mut values),
            Of::Units(parent) => {
                let below = match parent {
                    Some(parent) => {
                        values.push(Value::from(parent));
                        " AND x.parent_id = $1"
                    }
                    None => "",
                };
                self.of_table("organizational_units", below, range, &mut values)
            }
            Of::UsersOfUnit(id) => self.of_members(("unit_members", "unit_id"), id, range, &mut values),
            Of::UsersOfGroup(id) => self.of_members(("group_members", "group_id"), id, range, &mut values),
            Of::UsersWithin { units, groups } => {
                let inside = Inside::new(units, groups);
                values.extend(inside.owned_values());
                let limits = (
                    range.write("p.user_id", &mut values),
                    range.write("g.user_id", &mut values),
                );
                let all = inside.ids((&limits.0, &limits.1));
                match self.only.is_nothing() {
                    true => all,
                    false => {
                        let only = self.only.write(&mut values);
                        format!("SELECT x.id FROM ({all}) AS m CROSS JOIN users x WHERE x.id = m.id{only}")
                    }
                }
            }
        };
        (sql, values)
    }

    fn of_table<'a>(
        &'a self,
        table: &str,
        more: &str,
        range: &'a Range,
        values: &mut Vec<Value<'a>>,
    ) -> String {
        let range = range.write("x.id", values);
        let only = self.only.write(values);
        format!("SELECT x.id FROM {table} x WHERE 1 = 1{more}{range}{only}")
    }

    fn of_members<'a>(
        &'a self,
        (table, column): (&str, &str),
        id: &'a str,
        range: &'a Range,
        values: &mut Vec<Value<'a>>,
    ) -> String {
        values.push(Value::from(id));
        let place = values.len();
        let range = range.write("m.user_id", values);
        if self.only.is_nothing() {
            return format!("SELECT m.user_id AS id FROM {table} m WHERE m.{column} = ${place}{range}");
        }
        let only = self.only.write(values);
        // SQLite is held to that order: it might look at all users.
        format!(
            "SELECT x.id FROM {table} m CROSS JOIN users x WHERE m.{column} = ${place} AND x.id = m.user_id{range}{only}"
        )
    }
}
