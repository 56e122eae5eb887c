//! What of a resource is in an answer: `attributes` and `excludedAttributes`, RFC 7644 section 3.9.

use serde_json::Value;

use crate::error::Error;
use crate::name::AttrPath;
use crate::schema::{Attribute, Place, ResourceType, Returned, Schema};
use crate::text::shortened;
use crate::{Object, Strictness};

/// Which attributes were asked for, and which were not wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// If not empty, these and what is always there.
    pub attributes: Vec<AttrPath>,
    /// Without these, but for what is always there.
    pub excluded: Vec<AttrPath>,
}

impl Projection {
    /// Reads the two parameters, in which names are separated by commas. Lenient, what is no name is
    /// passed over.
    ///
    /// # Errors
    /// `invalidValue` with what is no name.
    pub fn parse(attributes: &str, excluded: &str, strictness: Strictness) -> Result<Self, Error> {
        Self::of(attributes.split(','), excluded.split(','), strictness)
    }

    /// The same from lists, as a search has them.
    ///
    /// # Errors
    /// `invalidValue` with what is no name.
    pub fn of<'a>(
        attributes: impl IntoIterator<Item = &'a str>,
        excluded: impl IntoIterator<Item = &'a str>,
        strictness: Strictness,
    ) -> Result<Self, Error> {
        let names = |texts: &mut dyn Iterator<Item = &'a str>| {
            let mut names = Vec::new();
            for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
                match AttrPath::parse(text) {
                    Ok(name) => names.push(name),
                    Err(error) if strictness.is_strict() => {
                        return Err(Error::value(format!("the name `{}`, {error}", shortened(text))));
                    }
                    Err(_) => {}
                }
            }
            Ok(names)
        };
        Ok(Self {
            attributes: names(&mut attributes.into_iter())?,
            excluded: names(&mut excluded.into_iter())?,
        })
    }

    /// Whether an attribute can be in the answer: what cannot need not be loaded (`members` of a large
    /// group).
    pub fn wants(&self, path: &AttrPath, types: &ResourceType) -> bool {
        let chosen = Chosen::of(self, types);
        types
            .find(path)
            .is_some_and(|place| chosen.keeps(&Place { sub: None, ..place }).is_some())
    }

    /// What of a resource is in the answer.
    pub fn apply(&self, resource: &Object, types: &ResourceType) -> Object {
        let chosen = Chosen::of(self, types);
        let mut answer = chosen.part(resource, None, types.all_own());
        for extension in &types.extensions {
            let schema = &extension.schema;
            if let Some(Value::Object(object)) = resource.get(&schema.id) {
                let part = chosen.part(object, Some(schema), schema.attributes.iter());
                if !part.is_empty() {
                    answer.insert(schema.id.clone(), part.into());
                }
            }
        }
        answer
    }
}

/// A projection whose names are those of a type of resources.
struct Chosen {
    /// Whether something was asked for, if only by names that mean nothing.
    asked: bool,
    attributes: Vec<AttrPath>,
    excluded: Vec<AttrPath>,
}

impl Chosen {
    fn of(projection: &Projection, types: &ResourceType) -> Self {
        let known = |names: &[AttrPath]| {
            let mut known = Vec::new();
            for name in names {
                // The URN of an extension stands for all of its attributes.
                match types.extension(&name.to_string()) {
                    Some(schema) => known.extend(schema.attributes.iter().map(|attribute| AttrPath {
                        schema: Some(schema.id.clone()),
                        name: attribute.name.clone(),
                        sub: None,
                    })),
                    None => known.extend(types.find(name).map(|place| place.path())),
                }
            }
            known
        };
        Self {
            asked: !projection.attributes.is_empty(),
            attributes: known(&projection.attributes),
            excluded: known(&projection.excluded),
        }
    }

    fn part<'a>(
        &self,
        object: &Object,
        extension: Option<&'a Schema>,
        attributes: impl Iterator<Item = &'a Attribute>,
    ) -> Object {
        let mut answer = Object::new();
        for attribute in attributes {
            let place = Place {
                extension,
                attribute,
                sub: None,
            };
            let (Some(value), Some(whole)) = (object.get(&attribute.name), self.keeps(&place)) else {
                continue;
            };
            let value = match value {
                Value::Object(object) => self.parts(object, place, whole),
                Value::Array(values) if !attribute.sub_attributes.is_empty() => {
                    let values: Vec<Value> = values
                        .iter()
                        .filter_map(Value::as_object)
                        .filter_map(|object| self.parts(object, place, whole))
                        .collect();
                    (!values.is_empty()).then(|| values.into())
                }
                value => Some(value.clone()),
            };
            if let Some(value) = value {
                answer.insert(attribute.name.clone(), value);
            }
        }
        answer
    }

    /// The parts of a complex value; `whole` if the attribute itself is in the answer, and not some of
    /// its parts.
    fn parts(&self, object: &Object, of: Place<'_>, whole: bool) -> Option<Value> {
        let mut answer = Object::new();
        for sub in &of.attribute.sub_attributes {
            let place = Place { sub: Some(sub), ..of };
            let kept = self.keeps(&place).is_some_and(|named| whole || named);
            if let (true, Some(value)) = (kept, object.get(&sub.name)) {
                answer.insert(sub.name.clone(), value.clone());
            }
        }
        (!answer.is_empty()).then(|| answer.into())
    }

    /// Whether an attribute or a part of one is in the answer: `None` if it is not, `Some(true)` if it
    /// is there itself, `Some(false)` if an attribute is there for some of its parts, or a part only
    /// together with its attribute.
    fn keeps(&self, place: &Place<'_>) -> Option<bool> {
        let path = place.path();
        let returned = place.sub.unwrap_or(place.attribute).returned;
        match returned {
            Returned::Always => return Some(true),
            Returned::Never => return None,
            Returned::Default | Returned::Request => {}
        }
        if self.excluded.contains(&path) {
            return None;
        }
        if self.attributes.contains(&path) {
            return Some(true);
        }
        if place.sub.is_some() {
            // A part is asked for together with its attribute, unless it wants to be asked for itself.
            return (returned == Returned::Default).then_some(false);
        }
        let some_part =
            |name: &&AttrPath| name.sub.is_some() && name.schema == path.schema && name.name == path.name;
        if self.attributes.iter().any(|name| some_part(&name)) {
            return Some(false);
        }
        (!self.asked && returned == Returned::Default).then_some(true)
    }
}
