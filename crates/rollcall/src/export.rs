//! Export: the directory as a file that an import takes without a difference.
//!
//! Users are read page by page, each page in a transaction of its own, so that an export of any size needs
//! little memory. What changes meanwhile may or may not be in the file.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

use rollcall_db::DbError;
use serde::{Deserialize, Serialize};

use crate::directory::{Group, User, path, query};
use crate::hub::Hub;
use crate::id;
use crate::import::entry::{Entry, GroupEntry, Path, UnitEntry, UserEntry};
use crate::import::{Dn, Format, LdifWriter};

/// Users that are read at once.
const PAGE: usize = 1_000;

/// The `pwdAccountLockedTime` of an account that is locked until somebody unlocks it (draft-behera-ldap-password-policy,
/// section 5.3.3).
const LOCKED: &str = "000001010000Z";

/// Why an export fails.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    Csv(#[from] csv::Error),
    /// The base is of no kind that there is an entry for.
    #[error("--base {0} must begin with dc, o, ou, l, st or c")]
    Base(String),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// How much was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// Organizational units, without the root.
    pub organizational_units: u64,
    /// Users.
    pub users: u64,
    /// Groups.
    pub groups: u64,
}

/// Writes the directory. `base` is the name above everything in LDIF.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    hub: &Hub,
    format: Format,
    base: &Dn,
    sink: impl Write + Send,
) -> Result<Exported, ExportError> {
    let directory = Directory::read(hub).await?;
    let exported = match format {
        Format::Jsonl => jsonl(hub, &directory, sink).await?,
        Format::Csv => table(hub, &directory, sink).await?,
        Format::Ldif => ldif(hub, &directory, base, sink).await?,
    };
    Ok(exported)
}

/// The units and groups; the users are too many to be held.
struct Directory {
    units: Vec<UnitEntry>,
    paths: HashMap<String, Path>,
    groups: Vec<Group>,
}

impl Directory {
    async fn read(hub: &Hub) -> Result<Self, DbError> {
        let (units, groups) = hub
            .db
            .read(|tx| Ok::<_, DbError>((query::all_units(tx)?, query::list_groups(tx)?)))
            .await?;
        let mut paths = HashMap::new();
        let mut entries = Vec::new();
        for unit in units {
            let above: Option<&Path> = unit.parent_id.as_ref().and_then(|parent| paths.get(parent));
            let path: Path = match above {
                None => Vec::new(),
                Some(above) => above.iter().cloned().chain([unit.name.clone()]).collect(),
            };
            let id = unit.id.clone();
            paths.insert(unit.id, path.clone());
            if !path.is_empty() {
                entries.push(UnitEntry {
                    line: 0,
                    id: Some(id),
                    path,
                    description: Some(unit.description),
                    external_id: Some(unit.external_id),
                    source: Some(unit.source),
                });
            }
        }
        Ok(Self {
            units: entries,
            paths,
            groups,
        })
    }

    fn path(&self, unit_id: &str) -> Path {
        self.paths.get(unit_id).cloned().unwrap_or_default()
    }

    fn entry(&self, user: User) -> UserEntry {
        // Every field is named, so that a new one is exported, or left out on purpose.
        let User {
            id: _,
            username,
            display_name,
            email,
            email_verified,
            phone_region,
            phone_number,
            phone_verified,
            // Passwords and locks stay here.
            password_set: _,
            enabled,
            account_expire_time,
            lock_expire_time: _,
            register_time: _,
            description,
            custom_fields,
            source,
            external_id,
            create_time: _,
            update_time: _,
            units,
            // The groups' own entries name their members.
            groups: _,
        } = user;
        let mut paths = units.iter().map(|unit| self.path(&unit.id));
        let path = paths.next().unwrap_or_default();
        let mut further: Vec<Path> = paths.collect();
        further.sort_unstable();
        UserEntry {
            line: 0,
            id: None,
            reference: None,
            path,
            further_paths: Some(further),
            username,
            display_name,
            email: Some(email),
            email_verified: Some(email_verified),
            phone_region: Some(phone_region),
            phone_number: Some(phone_number),
            phone_verified: Some(phone_verified),
            description: Some(description),
            external_id: Some(external_id),
            enabled: Some(enabled),
            account_expire_time: Some(account_expire_time),
            custom_fields: custom_fields
                .into_iter()
                .map(|(name, value)| (name, Some(value)))
                .collect(),
            groups: Vec::new(),
            source: Some(source),
        }
    }

    fn names_of(&self, user: &User) -> Vec<String> {
        self.groups
            .iter()
            .filter(|group| user.groups.contains(&group.id))
            .map(|group| group.name.clone())
            .collect()
    }
}

/// Hands all users to `each`.
async fn each_user(
    hub: &Hub,
    mut each: impl FnMut(User) -> Result<(), ExportError> + Send,
) -> Result<u64, ExportError> {
    let mut after = String::new();
    let mut count = 0;
    loop {
        let from = after.clone();
        let users = hub.db.read(move |tx| query::users_after(tx, &from, PAGE)).await?;
        let Some(last) = users.last() else {
            return Ok(count);
        };
        after.clone_from(&last.id);
        for user in users {
            count += 1;
            each(user)?;
        }
    }
}

/// The usernames of a group's members, with their ids.
async fn members(hub: &Hub, group: &Group) -> Result<Vec<(String, String)>, DbError> {
    let id = group.id.clone();
    hub.db.read(move |tx| query::member_usernames(tx, &id)).await
}

async fn jsonl(
    hub: &Hub,
    directory: &Directory,
    mut sink: impl Write + Send,
) -> Result<Exported, ExportError> {
    let mut line = |entry: &Entry| -> Result<(), ExportError> {
        serde_json::to_writer(&mut sink, entry).map_err(io::Error::from)?;
        sink.write_all(b"\n")?;
        Ok(())
    };
    for unit in &directory.units {
        line(&Entry::OrganizationalUnit(unit.clone()))?;
    }
    let users = each_user(hub, |user| line(&Entry::User(Box::new(directory.entry(user))))).await?;
    for group in &directory.groups {
        let members = members(hub, group).await?;
        line(&Entry::Group(GroupEntry {
            line: 0,
            id: None,
            name: group.name.clone(),
            description: Some(group.description.clone()),
            external_id: Some(group.external_id.clone()),
            source: Some(group.source.clone()),
            members: members.into_iter().map(|(_, username)| username).collect(),
            member_references: Vec::new(),
        }))?;
    }
    sink.flush()?;
    Ok(directory.counted(users))
}

async fn table(hub: &Hub, directory: &Directory, sink: impl Write + Send) -> Result<Exported, ExportError> {
    // The header has to name every custom field that some user has.
    let mut custom = BTreeSet::new();
    each_user(hub, |user| {
        custom.extend(user.custom_fields.into_keys());
        Ok(())
    })
    .await?;
    let mut writer = csv::Writer::from_writer(sink);
    let mut header: Vec<String> = [
        "username",
        "display_name",
        "path",
        "further_paths",
        "email",
        "phone_region",
        "phone_number",
        "external_id",
        "description",
        "status",
        "expires",
        "groups",
    ]
    .map(str::to_owned)
    .to_vec();
    header.extend(custom.iter().map(|name| format!("custom.{name}")));
    writer.write_record(&header)?;
    let users = each_user(hub, |user| {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut paths = user
            .units
            .iter()
            .map(|unit| path::join(&directory.path(&unit.id)));
        let primary = paths.next().unwrap_or_default();
        let further: Vec<String> = paths.collect();
        let groups: Vec<String> = directory
            .names_of(&user)
            .iter()
            .map(|name| path::escape(name))
            .collect();
        let expires = user
            .account_expire_time
            .and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
        let mut cells = vec![
            user.username.clone(),
            user.display_name.clone(),
            primary,
            further.join(";"),
            text(&user.email),
            text(&user.phone_region),
            text(&user.phone_number),
            text(&user.external_id),
            text(&user.description),
            if user.enabled { "enabled" } else { "disabled" }.to_owned(),
            expires.map(|time| time.to_string()).unwrap_or_default(),
            groups.join(";"),
        ];
        cells.extend(
            custom
                .iter()
                .map(|name| user.custom_fields.get(name).cloned().unwrap_or_default()),
        );
        writer.write_record(&cells)?;
        Ok(())
    })
    .await?;
    writer.flush()?;
    Ok(directory.counted(users))
}

/// Writes LDIF that `slapadd` loads: entries above before those below, only attributes and classes of the core,
/// COSINE and inetOrgPerson schemas, and [`LOCKED`] for those who may not sign in, which OpenLDAP knows where its
/// module `ppolicy` is loaded.
///
/// `entryUUID` is the external id if that is a UUID, and otherwise the id here in the form of a UUID: an import
/// recognises both, also after another server has loaded and written the file.
async fn ldif(
    hub: &Hub,
    directory: &Directory,
    base: &Dn,
    sink: impl Write + Send,
) -> Result<Exported, ExportError> {
    let mut writer = LdifWriter::new(sink);
    if let Some(rdn) = base.rdns().first() {
        let (kind, name) = rdn.first();
        let mut attributes = vec![("objectClass", "top")];
        attributes.extend(match kind {
            "dc" => [("objectClass", "domain")].as_slice(),
            "ou" => &[("objectClass", "organizationalUnit")],
            "c" => &[("objectClass", "country")],
            "l" | "st" => &[("objectClass", "locality")],
            "o" => &[("objectClass", "organization")],
            _ => return Err(ExportError::Base(base.to_string())),
        });
        attributes.push((kind, name));
        writer.record(base, &attributes)?;
    }
    let unit_dn = |path: &Path| path.iter().fold(base.clone(), |dn, name| dn.child("ou", name));
    for unit in &directory.units {
        let name = unit.path.last().map(String::as_str).unwrap_or_default();
        let uuid = entry_uuid(
            unit.id.as_deref(),
            unit.external_id.as_ref().and_then(Option::as_deref),
        );
        let mut attributes = vec![
            ("objectClass", "top"),
            ("objectClass", "organizationalUnit"),
            ("ou", name),
        ];
        if let Some(Some(text)) = &unit.description {
            attributes.push(("description", text));
        }
        attributes.extend(uuid.as_deref().map(|uuid| ("entryUUID", uuid)));
        writer.record(&unit_dn(&unit.path), &attributes)?;
    }
    // Members of groups are named by DN, which only their primary units tell.
    let mut dns = HashMap::new();
    let users = each_user(hub, |user| {
        let entry = directory.entry(user.clone());
        let dn = unit_dn(&entry.path).child("uid", &user.username);
        let phone = match (&user.phone_region, &user.phone_number) {
            (Some(region), Some(number)) => Some(format!("+{region} {number}")),
            _ => None,
        };
        let further: Vec<String> = entry
            .further_paths
            .iter()
            .flatten()
            .map(|path| path::join(path))
            .collect();
        let mut attributes = vec![
            ("objectClass", "top"),
            ("objectClass", "person"),
            ("objectClass", "organizationalPerson"),
            ("objectClass", "inetOrgPerson"),
            ("uid", user.username.as_str()),
            ("cn", user.display_name.as_str()),
            ("sn", user.display_name.as_str()),
            ("displayName", user.display_name.as_str()),
        ];
        for (name, value) in [
            ("mail", &user.email),
            ("mobile", &phone),
            ("description", &user.description),
        ] {
            attributes.extend(value.as_deref().map(|value| (name, value)));
        }
        // The primary unit is said too, so that a user without further ones says that.
        let own = path::join(&entry.path);
        attributes.extend(
            std::iter::once(&own)
                .chain(&further)
                .filter(|path| !path.is_empty())
                .map(|path| ("ou", path.as_str())),
        );
        if !user.enabled {
            attributes.push(("pwdAccountLockedTime", LOCKED));
        }
        let uuid = entry_uuid(Some(&user.id), user.external_id.as_deref());
        attributes.extend(uuid.as_deref().map(|uuid| ("entryUUID", uuid)));
        writer.record(&dn, &attributes)?;
        if !user.groups.is_empty() {
            dns.insert(user.id, dn);
        }
        Ok(())
    })
    .await?;
    for group in &directory.groups {
        let members: Vec<String> = members(hub, group)
            .await?
            .iter()
            .filter_map(|(id, _)| dns.get(id).map(Dn::to_string))
            .collect();
        let mut attributes = vec![
            ("objectClass", "top"),
            ("objectClass", "groupOfNames"),
            ("cn", group.name.as_str()),
        ];
        attributes.extend(group.description.as_deref().map(|text| ("description", text)));
        attributes.extend(members.iter().map(|member| ("member", member.as_str())));
        if members.is_empty() {
            // The class wants a member; the empty name is nobody's.
            attributes.push(("member", ""));
        }
        let uuid = entry_uuid(Some(&group.id), group.external_id.as_deref());
        attributes.extend(uuid.as_deref().map(|uuid| ("entryUUID", uuid)));
        writer.record(&base.child("cn", &group.name), &attributes)?;
    }
    writer.finish()?;
    Ok(directory.counted(users))
}

/// The UUID of an entry: its external id if that is one as servers write them, otherwise its id here.
fn entry_uuid(id: Option<&str>, external_id: Option<&str>) -> Option<String> {
    let is_uuid = |text: &&str| {
        text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            })
    };
    match external_id.filter(is_uuid) {
        Some(uuid) => Some(uuid.to_owned()),
        None => id.and_then(id::to_uuid),
    }
}

impl Directory {
    fn counted(&self, users: u64) -> Exported {
        Exported {
            organizational_units: self.units.len() as u64,
            users,
            groups: self.groups.len() as u64,
        }
    }
}
