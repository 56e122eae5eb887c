//! LDIF as entries: what the object classes and attributes of LDAP servers mean here.
//!
//! | here | there |
//! |---|---|
//! | organizational unit | `organizationalUnit`; its name is that of its RDN |
//! | user | `person` and its kind (`inetOrgPerson`, `user`), `account`, `posixAccount`; computers are passed over |
//! | group | `groupOfNames`, `groupOfUniqueNames`, `posixGroup`, `group` |
//! | path | the RDNs above the entry, up to the base: `--base`, or the `dc`, `o` and `c` at the top that all entries have in common |
//! | username | `uid`, `sAMAccountName`; else what stands before the `@` of `userPrincipalName` or `mail` |
//! | display name | `displayName`, `cn`, `givenName` with `sn`; else the username |
//! | email | `mail`, or none |
//! | phone | `mobile`, `telephoneNumber`, if it says its country |
//! | further units | values of `ou` that name a unit of the file, by name if only one has it, or by path |
//! | external id | `entryUUID`, `objectGUID`, `ipaUniqueID`, `nsUniqueId`; an `entryUUID` that spells the bits of an id of ours (see export) names that subject instead |
//! | disabled | `userAccountControl` (2), `nsAccountLock: TRUE`, `pwdAccountLockedTime: 000001010000Z` |
//! | expires | `accountExpires`, `shadowExpire` |
//! | members | `member`, `uniqueMember` by DN, `memberUid` by username; a member that is a group stands for its members |
//!
//! Where a file says of nobody that the account is disabled, it says nothing about that; where it says so of
//! somebody, those of whom it does not are enabled.

mod rules;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Read};

use super::dn::Dn;
use super::entry::{GroupEntry, Path, Reference, UnitEntry, UserEntry, fingerprint};
use super::ldif::{Reader, Record};
use super::report::Remark;
use super::{ImportError, Options, Trouble};
use crate::directory::fields::fold;
use crate::directory::path;
use rules::{Base, Rules, disabled};

type Source = BufReader<Box<dyn Read + Send>>;

/// One pass over an LDIF file.
pub(super) struct Ldap {
    records: Reader<Source>,
    rules: Rules,
}

/// What a first look at the whole file brings.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// The units.
    pub(super) units: Vec<UnitEntry>,
    /// Entries that are neither units nor users nor groups, and those outside the base.
    pub(super) passed_over: u64,
    /// The path of each unit by its path as text, and by its name; `None` if several have that.
    named: HashMap<String, Option<Path>>,
    /// Whether the file says of somebody that the account is disabled.
    tells_status: bool,
    /// Where the directory begins: what is above it is no part of paths.
    pub(super) base: Dn,
    /// What is to be said of the file as a whole.
    pub(super) note: Option<String>,
}

/// The naming contexts of a file's entries, by their comparable names: each with how many entries it has.
#[derive(Default)]
struct Contexts(BTreeMap<String, (Dn, u64)>);

impl Contexts {
    fn add(&mut self, dn: &Dn) {
        let context = dn.context();
        self.0.entry(context.normalized()).or_insert((context, 0)).1 += 1;
    }

    /// What all of them have in common, from the top.
    fn common(&self) -> Dn {
        let mut contexts = self.0.values().map(|(dn, _)| dn);
        let Some(first) = contexts.next() else {
            return Dn::default();
        };
        let mut common = first.rdns().len();
        for other in contexts {
            while first.base(common).normalized() != other.base(common).normalized() {
                common -= 1;
            }
        }
        first.base(common)
    }

    fn shown(&self) -> Vec<String> {
        self.0
            .values()
            .map(|(dn, entries)| match dn.is_empty() {
                true => format!("the root ({entries} entries)"),
                false => format!("{dn} ({entries} entries)"),
            })
            .collect()
    }
}

enum Kind {
    Unit,
    User,
    Group,
    Other,
}

fn kind(record: &Record) -> Kind {
    let any = |classes: &[&str]| classes.iter().any(|class| record.has_class(class));
    if record.has_class("organizationalUnit") {
        Kind::Unit
    } else if any(&["groupOfNames", "groupOfUniqueNames", "posixGroup", "group"]) {
        Kind::Group
    } else if any(&[
        "person",
        "organizationalPerson",
        "inetOrgPerson",
        "user",
        "account",
        "posixAccount",
    ]) && !any(&["computer", "contact"])
    {
        Kind::User
    } else {
        Kind::Other
    }
}

impl Ldap {
    /// `base` is where the directory begins if the options do not say so.
    pub(super) fn new(source: Source, options: &Options, base: Option<&Dn>) -> Self {
        Self {
            records: Reader::new(source),
            rules: Rules {
                mapping: options.mapping.clone(),
                given: options.base.clone(),
                base: options.base.as_ref().or(base).map(Base::of),
            },
        }
    }

    /// Looks through the file. What cannot be read is left to the users' pass to report.
    ///
    /// # Errors
    /// [`ImportError::Base`] if the base that was given has nothing below it.
    pub(super) fn survey(self) -> Result<Survey, ImportError> {
        let Self { records, mut rules } = self;
        let mut survey = Survey::default();
        let mut contexts = Contexts::default();
        let mut units = Vec::new();
        let mut inside = 0_u64;
        for record in records.filter_map(Result::ok) {
            let kind = kind(&record);
            if let Kind::Other = kind {
                survey.passed_over += 1;
                continue;
            }
            contexts.add(&record.dn);
            if rules.path(&record.dn).is_none() {
                survey.passed_over += 1;
                continue;
            }
            inside += 1;
            match kind {
                Kind::Unit => {
                    let identity = rules.identity(&record, "ou");
                    let unit = UnitEntry {
                        line: record.line,
                        id: identity.id,
                        description: Some(rules.text(&record, "description").map(str::to_owned)),
                        external_id: identity.external_id.map(Some),
                        source: None,
                        path: Path::new(),
                    };
                    units.push((record.dn, unit));
                }
                Kind::User => survey.tells_status |= disabled(&record).is_some(),
                Kind::Group | Kind::Other => {}
            }
        }
        match &rules.given {
            Some(base) if inside == 0 && !contexts.0.is_empty() => {
                return Err(ImportError::Base {
                    base: base.to_string(),
                    found: contexts.shown(),
                });
            }
            Some(base) => survey.base = base.clone(),
            None => {
                survey.base = contexts.common();
                rules.base = Some(Base::of(&survey.base));
                if contexts.0.len() > 1 {
                    survey.note = Some(format!(
                        "the file has entries of several directories: {}. What they do not have in common is part of \
                         the units' paths; --base DN takes only what is below one",
                        contexts.shown().join("; ")
                    ));
                }
            }
        }
        let mut at_path = HashMap::new();
        for (dn, mut unit) in units {
            unit.path = rules.path(&dn).unwrap_or_default();
            let path = &unit.path;
            let Some(name) = path.last() else { continue };
            if path.len() > 1 {
                survey
                    .named
                    .entry(fold(&path::escape(name)))
                    .and_modify(|other| *other = None)
                    .or_insert_with(|| Some(path.clone()));
            }
            // A path tells more than a name, so it comes first.
            at_path.insert(fold(&path::join(path)), Some(path.clone()));
            survey.units.push(unit);
        }
        survey.named.extend(at_path);
        Ok(survey)
    }

    /// The users.
    pub(super) fn users(self, survey: &Survey) -> impl Iterator<Item = Result<UserEntry, Trouble>> + use<> {
        let Self { records, rules } = self;
        let survey = Survey {
            named: survey.named.clone(),
            tells_status: survey.tells_status,
            ..Survey::default()
        };
        records.flat_map(move |read| {
            let record = match read {
                Ok(record) => record,
                Err(error) => return vec![Err(refused(error.line, "", error.message))],
            };
            match (kind(&record), rules.path(&record.dn)) {
                (Kind::User, Some(_)) => rules.user(&record, &survey),
                _ => Vec::new(),
            }
        })
    }

    /// The groups, each with the members of those that are its members.
    pub(super) fn groups(
        self,
    ) -> Result<impl Iterator<Item = Result<GroupEntry, Trouble>> + use<>, ImportError> {
        let Self { records, rules } = self;
        let mut groups = Vec::new();
        let mut by_reference: HashMap<Reference, usize> = HashMap::new();
        for record in records.filter_map(Result::ok) {
            if let (Kind::Group, Some(_)) = (kind(&record), rules.path(&record.dn)) {
                by_reference.insert(reference(&record.dn), groups.len());
                groups.push(rules.group(&record));
            }
        }
        let direct: Vec<(Vec<Reference>, Vec<String>)> = groups
            .iter()
            .map(|group: &GroupEntry| (group.member_references.clone(), group.members.clone()))
            .collect();
        for (own, group) in groups.iter_mut().enumerate() {
            flatten(own, group, &direct, &by_reference);
        }
        Ok(groups.into_iter().map(Ok))
    }
}

/// Puts the members of groups that are members in their place, however deep, and also in a circle.
fn flatten(
    own: usize,
    group: &mut GroupEntry,
    direct: &[(Vec<Reference>, Vec<String>)],
    groups: &HashMap<Reference, usize>,
) {
    if !group
        .member_references
        .iter()
        .any(|member| groups.contains_key(member))
    {
        return;
    }
    let mut visited = vec![own];
    let mut next = 0;
    let mut references = Vec::new();
    let mut members = Vec::new();
    while let Some(index) = visited.get(next).copied() {
        let (direct_references, direct_members) = &direct[index];
        members.extend(direct_members.iter().cloned());
        for member in direct_references {
            match groups.get(member) {
                Some(below) if visited.contains(below) => {}
                Some(below) => visited.push(*below),
                None => references.push(*member),
            }
        }
        next += 1;
    }
    references.sort_unstable();
    references.dedup();
    members.sort_unstable();
    members.dedup();
    group.member_references = references;
    group.members = members;
}

fn refused(line: u64, subject: impl Into<String>, message: impl Into<String>) -> Trouble {
    Trouble::Entry(Remark::new(line, subject, message))
}

fn reference(dn: &Dn) -> Reference {
    fingerprint(&dn.normalized())
}
