//! For whom the objects of a page stand, and in what they differ from what they should be.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rollcall_db::{DbError, Tx, Value};
use rollcall_protocol::{GroupPayload, UserPayload};
use rollcall_scim::{Object, ResourceType, schema};
use serde_json::Value as Json;

use super::model::{Details, Difference, Differs, Kind, Subject};
use super::store::{self, Match};
use crate::application::Scope;
use crate::application::scim::{Action, Leavers, Scim};
use crate::change::{self, Seq, listed};
use crate::delivery::ledger::remote;
use crate::delivery::model::shorten;
use crate::delivery::route::Target;
use crate::delivery::route::scim::{Provider, resource};
use crate::directory::fields::fold;
use crate::directory::query;
use crate::id;

/// How many subjects one statement asks for.
const AT_ONCE: usize = 500;

/// An object of the application.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) remote_id: String,
    external_id: Option<String>,
    name: Option<String>,
    /// What can be read of it.
    resource: Option<Object>,
}

impl Found {
    /// Reads it; `None` if it has no id.
    pub(super) fn read(subject: Subject, value: Json) -> Option<Self> {
        let remote_id = match &value["id"] {
            Json::String(id) if !id.is_empty() => id.clone(),
            Json::Number(id) => id.to_string(),
            _ => return None,
        };
        let resource = types(subject).read_answer(value.clone()).ok();
        let text = |name: &str| {
            let read = resource.as_ref().and_then(|resource| resource.get(name));
            let text = read.or_else(|| value.get(name)).and_then(Json::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        Some(Self {
            external_id: text("externalId"),
            name: text(name_attribute(subject)),
            remote_id,
            resource,
        })
    }

    fn is_active(&self) -> bool {
        let active = self.resource.as_ref().and_then(|it| it.get("active"));
        active != Some(&Json::Bool(false))
    }

    /// How it is named where nobody has another name for it.
    fn called(&self) -> String {
        let name = self.name.as_ref().unwrap_or(&self.remote_id);
        shorten(name)
    }
}

fn types(subject: Subject) -> &'static ResourceType {
    match subject {
        Subject::User => schema::user(),
        Subject::Group => schema::group(),
    }
}

/// The attribute that holds the name by which an object is found.
fn name_attribute(subject: Subject) -> &'static str {
    match subject {
        Subject::User => "userName",
        Subject::Group => "displayName",
    }
}

/// What is said of an object.
#[derive(Debug)]
pub(super) enum Said {
    /// It is as it should be.
    Same,
    /// It differs, and an event about it is under way.
    UnderWay,
    /// It differs, or is foreign.
    Differs(Box<Difference>),
}

/// An object with what is said of it.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) remote_id: String,
    pub(super) called: String,
    /// For whom it stands.
    pub(super) stands_for: Option<Match>,
    /// Whether it should be there.
    pub(super) is_wanted: bool,
    pub(super) said: Said,
}

/// Compares the objects of one application.
#[derive(Clone)]
pub(super) struct Judge {
    pub(super) comparison_id: String,
    pub(super) target: Arc<Target>,
    pub(super) subject: Subject,
}

/// A difference of which nothing is known but who it is about.
pub(super) fn bare(kind: Kind, subject: Subject, name: String) -> Difference {
    Difference {
        number: 0,
        kind,
        subject,
        subject_id: None,
        remote_id: None,
        name,
        repairable: false,
        missing: 0,
        surplus: 0,
        emptied: false,
        details: Details::default(),
    }
}

/// An object that the hub leaves alone.
pub(super) fn foreign(subject: Subject, remote_id: &str, called: &str, note: Option<&str>) -> Difference {
    Difference {
        remote_id: Some(remote_id.to_owned()),
        details: Details {
            note: note.map(str::to_owned),
            ..Details::default()
        },
        ..bare(Kind::Foreign, subject, called.to_owned())
    }
}

impl Judge {
    pub(super) fn application_id(&self) -> &str {
        &self.target.application.id
    }

    fn scope(&self) -> &Scope {
        &self.target.entitlements.current().scope
    }

    /// Says of the objects of a page for whom they stand, and in what they differ. What the log has after `position` was
    /// not told when the page was asked for.
    pub(super) fn judge(
        &self,
        tx: &mut Tx<'_>,
        provider: &Provider,
        found: Vec<Found>,
        position: Seq,
    ) -> Result<Vec<Judged>, DbError> {
        let kind = self.subject.kind();
        let ids: Vec<String> = found.iter().map(|it| it.remote_id.clone()).collect();
        let remembered = remote::holders(tx, self.application_id(), kind, &ids)?;
        let names: Vec<String> = found.iter().filter_map(|it| it.name.clone()).collect();
        let by_name = self.named(tx, &names)?;
        let mut judged = Vec::with_capacity(found.len());
        for it in found {
            let known = remembered.get(&it.remote_id);
            let named = it.name.as_ref().and_then(|name| by_name.get(&fold(name)));
            let candidates = [
                known.map(|subject| (subject, 0)),
                it.external_id.as_ref().map(|id| (id, 1)),
                named.map(|subject| (subject, 2)),
            ];
            let mut said = None;
            for (subject_id, doubt) in candidates.into_iter().flatten() {
                said = self.judge_as(tx, provider, &it, subject_id, doubt)?;
                if said.is_some() {
                    break;
                }
            }
            judged.push(match said {
                Some(said) => said,
                None => {
                    let called = self.called(tx, &it, it.external_id.as_deref())?;
                    Judged {
                        said: Said::Differs(Box::new(foreign(self.subject, &it.remote_id, &called, None))),
                        called,
                        remote_id: it.remote_id,
                        stands_for: None,
                        is_wanted: false,
                    }
                }
            });
        }
        self.set_apart(tx, &mut judged, position)?;
        Ok(judged)
    }

    /// How an object is named that stands, or once stood, for a subject of this id. The name that the application has for
    /// a user whom the hub knows no longer is left out: they may have been erased.
    fn called(&self, tx: &mut Tx<'_>, it: &Found, subject_id: Option<&str>) -> Result<String, DbError> {
        let kind = self.subject.kind();
        let user = subject_id.filter(|id| self.subject == Subject::User && id::is_of_user(id));
        let Some(user) = user else { return Ok(it.called()) };
        let is_known = query::record_of(tx, kind, user)?.is_some() || change::has_record(tx, user)?;
        Ok(match is_known {
            true => it.called(),
            false => user.to_owned(),
        })
    }

    /// What an object comes to if it stands for a subject; `None` if it does not.
    fn judge_as(
        &self,
        tx: &mut Tx<'_>,
        provider: &Provider,
        it: &Found,
        subject_id: &str,
        doubt: i64,
    ) -> Result<Option<Judged>, DbError> {
        let (kind, scim) = (self.subject.kind(), provider.parameters());
        let record = query::record_of(tx, kind, subject_id)?;
        if record.is_none() && doubt > 0 {
            return Ok(None);
        }
        let scope = self.scope();
        let there = match &record {
            Some(_) => it.called(),
            None => self.called(tx, it, Some(subject_id))?,
        };
        let called = record
            .as_ref()
            .and_then(|(record, _)| name_in(self.subject, record));
        let wanted = record
            .filter(|(_, placement)| scope.is_everything() || scope.covers(kind, placement))
            .map(|(record, _)| resource(provider.checked(), kind, &record));
        if let (2, Some(Ok(wanted))) = (doubt, &wanted) {
            // The mapping may make another name of it, and then it is somebody else.
            let wanted = wanted
                .get(name_attribute(self.subject))
                .and_then(Json::as_str)
                .unwrap_or_default();
            if it.name.as_deref().map(fold) != Some(fold(wanted)) {
                return Ok(None);
            }
        }
        let called = called.unwrap_or_else(|| there.clone());
        let differs = |kind: Kind| Difference {
            subject_id: Some(subject_id.to_owned()),
            remote_id: Some(it.remote_id.clone()),
            ..bare(kind, self.subject, called.clone())
        };
        let is_wanted = wanted.is_some();
        let said = match wanted {
            Some(Ok(wanted)) => self.differing(provider, it, &wanted, differs(Kind::Update)),
            Some(Err(remark)) => Said::Differs(Box::new(Difference {
                details: Details {
                    note: remark.message,
                    ..Details::default()
                },
                ..differs(Kind::Unmapped)
            })),
            // Whoever only has the name of somebody who is not in scope is somebody else.
            None if doubt == 2 => return Ok(None),
            None => match leaving(scim, self.subject) {
                Some(Kind::Disable) if !it.is_active() => Said::Same,
                Some(kind) => Said::Differs(Box::new(Difference {
                    repairable: scim.does(Action::Delete),
                    ..differs(kind)
                })),
                None => return Ok(None),
            },
        };
        Ok(Some(Judged {
            remote_id: it.remote_id.clone(),
            called: there,
            stands_for: Some(Match {
                subject_id: subject_id.to_owned(),
                remote_id: it.remote_id.clone(),
                doubt,
                name: called,
            }),
            is_wanted,
            said,
        }))
    }

    fn differing(&self, provider: &Provider, it: &Found, wanted: &Object, update: Difference) -> Said {
        let repairable = provider.parameters().does(Action::Update);
        let Some(resource) = &it.resource else {
            let note = "what the application says of it cannot be read".to_owned();
            return Said::Differs(Box::new(Difference {
                repairable,
                details: Details {
                    note: Some(note),
                    ..Details::default()
                },
                ..update
            }));
        };
        let managed = provider.managed(self.subject.kind());
        let attributes = managed.differences(resource, wanted, types(self.subject));
        if attributes.is_empty() {
            return Said::Same;
        }
        let attributes = attributes.into_iter().map(|it| Differs {
            attribute: it.attribute,
            there: it.there.map(cut),
            here: it.wanted.map(cut),
        });
        Said::Differs(Box::new(Difference {
            repairable,
            details: Details {
                attributes: attributes.collect(),
                ..Details::default()
            },
            ..update
        }))
    }

    /// Whoever has one of these names, by the folded name: users by username or address, since either may be the name
    /// there.
    fn named(&self, tx: &mut Tx<'_>, names: &[String]) -> Result<HashMap<String, String>, DbError> {
        match self.subject {
            Subject::User => {
                let mut found = query::user_ids_by_email(tx, names)?;
                found.extend(query::user_ids_by_username(tx, names)?);
                Ok(found)
            }
            Subject::Group => query::group_ids_by_name(tx, names),
        }
    }

    /// Sets apart those that differ and of whom something is under way; of groups, also those whose members may differ.
    fn set_apart(&self, tx: &mut Tx<'_>, judged: &mut [Judged], position: Seq) -> Result<(), DbError> {
        let may_differ = |it: &Judged| {
            matches!(it.said, Said::Differs(_)) || (self.subject == Subject::Group && it.is_wanted)
        };
        let subjects: Vec<String> = judged
            .iter()
            .filter(|it| may_differ(it))
            .filter_map(|it| Some(it.stands_for.as_ref()?.subject_id.clone()))
            .collect();
        let moving = under_way(tx, self.application_id(), &subjects, position)?;
        for it in judged {
            let is_moving = |it: &Match| moving.contains(&it.subject_id);
            if it.stands_for.as_ref().is_some_and(is_moving) {
                it.said = Said::UnderWay;
            }
        }
        Ok(())
    }

    /// Those of a page of the directory who should be there and are not, and how many of the page should be there. The
    /// last is the id after which the next page begins.
    pub(super) fn missing(
        &self,
        tx: &mut Tx<'_>,
        provider: &Provider,
        after: Option<&str>,
        position: Seq,
    ) -> Result<Missing, DbError> {
        let scope = self.scope();
        let everything = scope.is_everything();
        let kind = self.subject.kind();
        let rows = match self.subject {
            Subject::User => query::users_page(tx, after, AT_ONCE, !everything)?,
            Subject::Group => query::groups_page(tx, after, AT_ONCE)?,
        };
        let next = rows.last().map(|row| row.id.clone());
        let wanted: Vec<_> = rows
            .into_iter()
            .filter(|row| everything || scope.covers(kind, &row.placement))
            .collect();
        let ids: Vec<String> = wanted.iter().map(|row| row.id.clone()).collect();
        let there = store::matches(tx, &self.comparison_id, &ids)?;
        let absent: Vec<_> = wanted.iter().filter(|row| !there.contains_key(&row.id)).collect();
        let ids: Vec<String> = absent.iter().map(|row| row.id.clone()).collect();
        let moving = under_way(tx, self.application_id(), &ids, position)?;
        let mut missing = Missing {
            here: wanted.len() as u64,
            under_way: moving.len() as u64,
            next,
            ..Missing::default()
        };
        for row in absent.into_iter().filter(|row| !moving.contains(&row.id)) {
            let mapped = resource(provider.checked(), kind, &row.record);
            let difference = match &mapped {
                Ok(_) => Kind::Create,
                Err(_) => Kind::Unmapped,
            };
            let name = name_in(self.subject, &row.record).unwrap_or_else(|| row.id.clone());
            let members = match self.subject {
                Subject::Group => query::group_members(tx, &row.id)?.len() as u64,
                Subject::User => 0,
            };
            missing.differences.push(Difference {
                subject_id: Some(row.id.clone()),
                repairable: mapped.is_ok() && provider.parameters().does(Action::Create),
                missing: members,
                details: Details {
                    note: mapped.err().and_then(|remark| remark.message),
                    ..Details::default()
                },
                ..bare(difference, self.subject, name)
            });
        }
        Ok(missing)
    }
}

/// Those of a page of the directory whom the application lacks.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// How many of the page should be there.
    pub(super) here: u64,
    pub(super) under_way: u64,
    pub(super) differences: Vec<Difference>,
    pub(super) next: Option<String>,
}

/// What becomes of those who leave; `None`: they stay as they are.
fn leaving(scim: &Scim, subject: Subject) -> Option<Kind> {
    match (scim.leavers, subject) {
        (Leavers::Release, _) => None,
        (Leavers::Disable, Subject::User) => Some(Kind::Disable),
        (Leavers::Disable | Leavers::Delete, _) => Some(Kind::Delete),
    }
}

fn name_in(subject: Subject, record: &str) -> Option<String> {
    match subject {
        Subject::User => UserPayload::from_json(record).ok()?.username,
        Subject::Group => GroupPayload::from_json(record).ok()?.name,
    }
}

/// A value as it is shown: long texts are cut.
fn cut(value: Json) -> Json {
    match value {
        Json::String(text) => shorten(&text).into(),
        Json::Array(values) => values.into_iter().map(cut).collect(),
        Json::Object(parts) => parts
            .into_iter()
            .map(|(name, value)| (name, cut(value)))
            .collect(),
        plain => plain,
    }
}

/// Of whom of these something is under way: the log has it after a position, or an event of theirs waits.
fn under_way(
    tx: &mut Tx<'_>,
    application_id: &str,
    subjects: &[String],
    position: Seq,
) -> Result<HashSet<String>, DbError> {
    let mut found = HashSet::new();
    for part in subjects.chunks(AT_ONCE) {
        let among = listed(2, part.len());
        let later =
            format!("SELECT DISTINCT subject_id FROM changes WHERE seq > $1 AND subject_id IN {among}");
        let waiting = format!(
            "SELECT DISTINCT subject_id FROM parked_events
             WHERE application_id = $1 AND state IN ('retrying', 'held') AND subject_id IN {among}"
        );
        for (sql, first) in [
            (later, Value::from(position)),
            (waiting, Value::from(application_id)),
        ] {
            let mut values = vec![first];
            values.extend(part.iter().map(Value::from));
            for row in &tx.query(&sql, &values)? {
                found.insert(row.get(0)?);
            }
        }
    }
    Ok(found)
}
