//! Which column or attribute of a file holds which field.

use std::collections::BTreeMap;

use super::ImportError;

/// The fields that a file may say something about; `custom.NAME` besides.
pub const FIELDS: [&str; 13] = [
    "username",
    "display_name",
    "path",
    "email",
    "phone",
    "phone_region",
    "phone_number",
    "external_id",
    "description",
    "further_paths",
    "groups",
    "status",
    "expires",
];

/// Names in the file by field: the first that has a value counts. A field that is not mapped goes by the
/// names that the format knows for it.
#[derive(Clone, Debug, Default)]
pub struct Mapping(BTreeMap<String, Vec<String>>);

impl Mapping {
    /// Reads mappings of the form `FIELD=NAME` or `FIELD=NAME,NAME`.
    ///
    /// # Errors
    /// [`ImportError::Mapping`] for another form and for a field that there is not.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self, ImportError> {
        let mut mapping = BTreeMap::new();
        for text in texts.iter().map(AsRef::as_ref) {
            let refuse = |reason: String| ImportError::Mapping {
                text: text.to_owned(),
                reason,
            };
            let (field, names) = text
                .split_once('=')
                .ok_or_else(|| refuse("write FIELD=NAME".to_owned()))?;
            let custom = field.strip_prefix("custom.").is_some_and(|name| !name.is_empty());
            if !custom && !FIELDS.contains(&field) {
                return Err(refuse(format!(
                    "there is no field {field:?}; the fields are {} and custom.NAME",
                    FIELDS.join(", ")
                )));
            }
            let names: Vec<String> = names
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect();
            if names.is_empty() {
                return Err(refuse("name at least one column or attribute".to_owned()));
            }
            mapping.insert(field.to_owned(), names);
        }
        Ok(Self(mapping))
    }

    /// The names that were given for a field.
    pub(super) fn given(&self, field: &str) -> Option<&[String]> {
        self.0.get(field).map(Vec::as_slice)
    }

    /// The field that a name was given for.
    pub(super) fn field_of(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
            .map(|(field, _)| field.as_str())
    }

    /// The custom fields that were given, each with its names in the file.
    pub(super) fn custom(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0
            .iter()
            .filter_map(|(field, names)| Some((field.strip_prefix("custom.")?, names.as_slice())))
    }

    /// Whether nothing is mapped.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
