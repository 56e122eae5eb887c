//! Which attributes a client manages.

use std::collections::BTreeSet;

use crate::Object;
use crate::path::Path;
use crate::schema::ResourceType;

/// The attributes that a client sets, by extension, name and, where the attribute is complex and has one value, part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managed(BTreeSet<(Option<String>, String, Option<String>)>);

impl Managed {
    /// The attributes that these paths lead to, in the spelling of the schemas.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>, types: &ResourceType) -> Self {
        let places = paths.into_iter().filter_map(|path| types.find(path.attribute()));
        Self(
            places
                .map(|place| {
                    let sub = place.sub.filter(|_| !place.attribute.multi_valued);
                    (
                        place.extension.map(|schema| schema.id.clone()),
                        place.attribute.name.clone(),
                        sub.map(|sub| sub.name.clone()),
                    )
                })
                .collect(),
        )
    }

    /// The attributes: extension, name and part.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (Option<&str>, &str, Option<&str>)> {
        let all = self.0.iter();
        all.map(|(extension, name, sub)| (extension.as_deref(), name.as_str(), sub.as_deref()))
    }

    /// What of a resource is managed. The resource has to be in the spelling of the schemas.
    pub fn part_of(&self, resource: &Object) -> Object {
        let mut part = Object::new();
        for (extension, name, sub) in &self.0 {
            let holder = match extension {
                None => Some(resource),
                Some(urn) => resource.get(urn).and_then(|value| value.as_object()),
            };
            let Some(value) = holder.and_then(|holder| holder.get(name)) else {
                continue;
            };
            let into = match extension {
                None => &mut part,
                Some(urn) => match entered(&mut part, urn) {
                    Some(into) => into,
                    None => continue,
                },
            };
            match sub {
                None => {
                    into.insert(name.clone(), value.clone());
                }
                Some(sub) => {
                    let value = value.as_object().and_then(|object| object.get(sub));
                    if let (Some(value), Some(into)) = (value, entered(into, name)) {
                        into.insert(sub.clone(), value.clone());
                    }
                }
            }
        }
        part.retain(|_, value| value.as_object().is_none_or(|object| !object.is_empty()));
        part
    }
}

fn entered<'o>(object: &'o mut Object, key: &str) -> Option<&'o mut Object> {
    object
        .entry(key.to_owned())
        .or_insert_with(|| Object::new().into())
        .as_object_mut()
}
