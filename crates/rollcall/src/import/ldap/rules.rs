//! What the attributes of an entry mean.

use super::{Survey, reference, refused};
use crate::clock::Millis;
use crate::directory::fields::fold;
use crate::directory::path;
use crate::id;
use crate::import::dn::{Dn, Rdn};
use crate::import::entry::{GroupEntry, Path, UserEntry, fingerprint};
use crate::import::ldif::Record;
use crate::import::mapping::Mapping;
use crate::import::report::Remark;
use crate::import::{Trouble, fields};

/// How the attributes are read.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) mapping: Mapping,
    pub(super) given: Option<Dn>,
    pub(super) base: Option<Base>,
}

/// The entry that is the root here.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// How many RDNs its name has.
    rdns: usize,
    /// Its name, to be compared.
    normalized: String,
}

impl Base {
    pub(super) fn of(base: &Dn) -> Self {
        Self {
            rdns: base.rdns().len(),
            normalized: base.normalized(),
        }
    }
}

/// Who an entry is.
pub(super) struct Identity {
    /// Its id here, if the file comes from here.
    pub(super) id: Option<String>,
    pub(super) external_id: Option<String>,
}

impl Rules {
    /// The path that a DN stands for; `None` if it is outside the base.
    pub(super) fn path(&self, dn: &Dn) -> Option<Path> {
        let Some(base) = &self.base else {
            return Some(names(dn.rdns()));
        };
        let below = dn.rdns().len().checked_sub(base.rdns)?;
        (dn.base(base.rdns).normalized() == base.normalized).then(|| names(&dn.rdns()[..below]))
    }

    /// The first value of a field's attributes.
    pub(super) fn text<'r>(&self, record: &'r Record, field: &str) -> Option<&'r str> {
        let known: &[&str] = match field {
            "username" => &["uid", "samaccountname"],
            "display_name" => &["displayname", "cn"],
            "email" => &["mail"],
            "phone" => &["mobile", "telephonenumber"],
            "description" => &["description"],
            _ => &[],
        };
        match self.mapping.given(field) {
            Some(names) => names.iter().find_map(|name| record.text(&name.to_lowercase())),
            None => known.iter().find_map(|name| record.text(name)),
        }
    }

    /// Who an entry is; `prefix` is that of our ids of its kind.
    pub(super) fn identity(&self, record: &Record, prefix: &str) -> Identity {
        let external_id = self.external_id(record);
        let own = external_id
            .as_deref()
            .and_then(|uuid| id::from_uuid(prefix, uuid));
        Identity { id: own, external_id }
    }

    fn external_id(&self, record: &Record) -> Option<String> {
        if self.mapping.given("external_id").is_some() {
            return self.text(record, "external_id").map(str::to_owned);
        }
        let text = ["entryuuid", "ipauniqueid", "nsuniqueid"]
            .into_iter()
            .find_map(|name| record.text(name));
        text.map(str::to_lowercase)
            .or_else(|| record.bytes("objectguid").and_then(guid))
    }

    pub(super) fn user(&self, record: &Record, survey: &Survey) -> Vec<Result<UserEntry, Trouble>> {
        let line = record.line;
        let before_at = |text: &str| text.split('@').next().unwrap_or_default().to_owned();
        let username = self.text(record, "username").map(str::to_owned).or_else(|| {
            let others = ["userprincipalname", "mail"];
            others
                .into_iter()
                .find_map(|name| record.text(name))
                .map(before_at)
        });
        let Some(username) = username.filter(|name| !name.is_empty()) else {
            let message = "has none of uid, sAMAccountName, userPrincipalName and mail, so there is no username; \
                           say where to find one with --mapping username=ATTRIBUTE";
            return vec![Err(refused(line, record.dn.to_string(), message))];
        };
        let whole_name = || match (record.text("givenname"), record.text("sn")) {
            (Some(given), Some(family)) => Some(format!("{given} {family}")),
            (given, family) => given.or(family).map(str::to_owned),
        };
        let display_name = self
            .text(record, "display_name")
            .map(str::to_owned)
            .or_else(whole_name)
            .unwrap_or_else(|| username.clone());
        let own_path = record
            .dn
            .parent()
            .and_then(|parent| self.path(&parent))
            .unwrap_or_default();
        let mut read = Vec::new();
        let mut note = |message: String| {
            read.push(Err(Trouble::Note(Remark::new(line, username.clone(), message))));
        };
        let mut further = Vec::new();
        for name in record.texts("ou") {
            let by_name = || survey.named.get(&fold(&path::escape(name)));
            match survey.named.get(&fold(name)).or_else(by_name).cloned() {
                Some(Some(unit)) if unit == own_path || further.contains(&unit) => {}
                Some(Some(unit)) => further.push(unit),
                Some(None) => note(format!("several units are named {name:?}; write its path")),
                None => note(format!("ou {name:?} is no unit of this file")),
            }
        }
        // A number that does not say its country is passed over later, as any other that cannot be one.
        let phone = self.text(record, "phone");
        let (phone_region, phone_number) = match phone.map(fields::phone) {
            Some(Ok((region, number))) => (Some(region), Some(number)),
            Some(Err(_)) => (None, phone.map(str::to_owned)),
            None => (None, None),
        };
        let enabled = match self.mapping.given("status") {
            Some(_) => match fields::status(self.text(record, "status").unwrap_or_default()) {
                Ok(enabled) => enabled,
                Err(reason) => return vec![Err(refused(line, username, reason))],
            },
            None => disabled(record)
                .map(|it| !it)
                .or(survey.tells_status.then_some(true)),
        };
        let custom_fields = self
            .mapping
            .custom()
            .map(|(field, names)| {
                let value = names.iter().find_map(|name| record.text(&name.to_lowercase()));
                (field.to_owned(), value.map(str::to_owned))
            })
            .collect();
        let identity = self.identity(record, "user");
        read.push(Ok(UserEntry {
            line,
            id: identity.id,
            reference: Some(reference(&record.dn)),
            display_name,
            path: own_path,
            further_paths: record.texts("ou").next().is_some().then_some(further),
            email: Some(self.text(record, "email").map(str::to_owned)),
            phone_region: Some(phone_region),
            phone_number: Some(phone_number),
            description: Some(self.text(record, "description").map(str::to_owned)),
            external_id: identity.external_id.map(Some),
            enabled,
            account_expire_time: expires(record),
            custom_fields,
            username,
            ..UserEntry::default()
        }));
        read
    }

    pub(super) fn group(&self, record: &Record) -> GroupEntry {
        let members = record.texts("member").chain(record.texts("uniquemember"));
        let name = record.text("cn").map(str::to_owned);
        let identity = self.identity(record, "group");
        GroupEntry {
            line: record.line,
            id: identity.id,
            name: name
                .or_else(|| record.dn.rdns().first().map(|rdn| rdn.first().1.to_owned()))
                .unwrap_or_default(),
            description: Some(self.text(record, "description").map(str::to_owned)),
            external_id: identity.external_id.map(Some),
            source: None,
            members: record.texts("memberuid").map(str::to_owned).collect(),
            // Of names that cannot be read nobody can be found either; they count as unknown members.
            member_references: members
                .map(|text| Dn::parse(text).map_or_else(|_| fingerprint(text), |dn| reference(&dn)))
                .collect(),
        }
    }
}

/// The names of RDNs, from the top.
fn names(rdns: &[Rdn]) -> Path {
    rdns.iter().rev().map(|rdn| rdn.first().1.to_owned()).collect()
}

/// Whether the account is disabled, if the record says.
pub(super) fn disabled(record: &Record) -> Option<bool> {
    if let Some(flags) = record
        .text("useraccountcontrol")
        .and_then(|text| text.parse::<i64>().ok())
    {
        return Some(flags & 2 != 0);
    }
    if let Some(text) = record.text("nsaccountlock") {
        return Some(text.eq_ignore_ascii_case("true"));
    }
    record
        .text("pwdaccountlockedtime")
        .map(|time| time.starts_with("000001010000"))
}

/// When the account expires, if the record says.
fn expires(record: &Record) -> Option<Option<Millis>> {
    /// From 1601, where Active Directory begins to count, to 1970.
    const FILETIME_TO_UNIX: Millis = 11_644_473_600_000;
    const MILLIS_PER_DAY: Millis = 86_400_000;
    if let Some(ticks) = record
        .text("accountexpires")
        .and_then(|text| text.parse::<i64>().ok())
    {
        return Some(match ticks {
            0 | i64::MAX => None,
            ticks => Some(ticks / 10_000 - FILETIME_TO_UNIX),
        });
    }
    let days = record.text("shadowexpire")?.parse::<i64>().ok()?;
    Some((days >= 0).then(|| days.saturating_mul(MILLIS_PER_DAY)))
}

/// A GUID as Active Directory stores it: the first three groups little-endian.
fn guid(bytes: &[u8]) -> Option<String> {
    let mut bytes: [u8; 16] = bytes.try_into().ok()?;
    for group in [0..4, 4..6, 6..8] {
        bytes[group].reverse();
    }
    Some(id::uuid(u128::from_be_bytes(bytes)))
}
