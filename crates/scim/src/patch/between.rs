//! The operations that make one resource of another.

use serde_json::Value;

use super::{Kind, Operation, Patch, Target};
use crate::Object;
use crate::name::AttrPath;
use crate::path::Path;
use crate::schema::{Attribute, Mutability, ResourceType};

impl Patch {
    /// The fewest operations that make a resource of another: one for each attribute that differs, and
    /// for each part of a complex attribute with one value. What only the service provider sets is left
    /// alone.
    pub fn between(before: &Object, after: &Object, types: &ResourceType) -> Self {
        let mut patch = Self::default();
        patch.compare(None, types.all_own(), before, after);
        let nothing = Object::new();
        for extension in &types.extensions {
            let schema = &extension.schema;
            let part = |resource: &Object| match resource.get(&schema.id) {
                Some(Value::Object(object)) => object.clone(),
                _ => nothing.clone(),
            };
            let (before, after) = (part(before), part(after));
            if after.is_empty() && !before.is_empty() {
                patch.push(Kind::Remove, Target::Extension(schema.id.clone()), None);
            } else {
                patch.compare(Some(&schema.id), schema.attributes.iter(), &before, &after);
            }
        }
        patch
    }

    fn compare<'a>(
        &mut self,
        schema: Option<&str>,
        attributes: impl Iterator<Item = &'a Attribute>,
        before: &Object,
        after: &Object,
    ) {
        for attribute in attributes.filter(|attribute| attribute.mutability != Mutability::ReadOnly) {
            let path = AttrPath {
                schema: schema.map(str::to_owned),
                name: attribute.name.clone(),
                sub: None,
            };
            match (before.get(&attribute.name), after.get(&attribute.name)) {
                (Some(Value::Object(before)), Some(Value::Object(after))) => {
                    let subs = attribute.sub_attributes.iter();
                    for sub in subs.filter(|sub| sub.mutability != Mutability::ReadOnly) {
                        let path = AttrPath {
                            sub: Some(sub.name.clone()),
                            ..path.clone()
                        };
                        self.difference(path, before.get(&sub.name), after.get(&sub.name));
                    }
                }
                (before, after) => self.difference(path, before, after),
            }
        }
    }

    fn difference(&mut self, path: AttrPath, before: Option<&Value>, after: Option<&Value>) {
        if before == after {
            return;
        }
        // What is not there is added by `replace` as well, and a list by it alone as it is: `add` passes
        // over values that are there already.
        let kind = if after.is_some() {
            Kind::Replace
        } else {
            Kind::Remove
        };
        self.push(kind, Target::Path(Path::Attribute(path)), after.cloned());
    }

    fn push(&mut self, kind: Kind, target: Target, value: Option<Value>) {
        let index = self.operations.len();
        self.operations.push(Operation {
            kind,
            target,
            value,
            index,
        });
    }
}
