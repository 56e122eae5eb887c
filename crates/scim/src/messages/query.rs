//! What a list is asked for: the parameters of an address and the body of a search are the same.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::PageMethod;
use crate::error::{Error, ScimType};
use crate::filter::Filter;
use crate::name::AttrPath;
use crate::schema::{ResourceType, SCHEMAS, member};
use crate::{Projection, Strictness};

/// The schema of a search.
pub const SEARCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// What a list is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which resources.
    pub filter: Option<Filter>,
    /// In which order.
    pub sort: Option<Sort>,
    /// Which of them in this answer.
    pub page: Page,
    /// What of them.
    pub projection: Projection,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: AttrPath,
    /// Which way.
    pub order: SortOrder,
}

/// Which way an order goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SortOrder {
    /// The least first.
    #[default]
    Ascending,
    /// The greatest first.
    Descending,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// From a number on.
    Index {
        /// The number of the first resource, from 1.
        start: u64,
        /// How many.
        count: u64,
    },
    /// From where a page before ended.
    Cursor {
        /// What that page gave; `None` for the first page.
        cursor: Option<String>,
        /// How many.
        count: u64,
    },
}

/// How pages are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// How many resources a page has if no count was asked for.
    pub default_size: u64,
    /// How many it has at most, whatever was asked for.
    pub max_size: u64,
    /// Which pages there are if none were asked for.
    pub method: PageMethod,
}

/// The body of `POST /.search`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "they are the parameters of the same names")]
pub struct SearchRequest {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excluded_attributes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_order: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_index: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl SearchRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// `invalidSyntax`.
    pub fn read(body: Value, strictness: Strictness) -> Result<Self, Error> {
        let schemas = body.as_object().and_then(|body| member(body, SCHEMAS));
        if strictness.is_strict() && schemas != Some(&json!([SEARCH_SCHEMA])) {
            return Err(Error::syntax(format!("schemas must be [\"{SEARCH_SCHEMA}\"]")));
        }
        serde_json::from_value(body)
            .map_err(|error| Error::syntax(format!("the search cannot be read: {error}")))
    }

    /// Reads the parameters of an address, which are decoded already. Names are compared without regard
    /// to case, and those that are unknown are passed over.
    ///
    /// # Errors
    /// `invalidValue` for what must be a number, `invalidCount` for that of a page by cursor.
    pub fn of_parameters<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut search = Self::default();
        let mut count = None;
        for (name, value) in parameters {
            match name.to_ascii_lowercase().as_str() {
                "attributes" => search.attributes.extend(value.split(',').map(str::to_owned)),
                "excludedattributes" => search
                    .excluded_attributes
                    .extend(value.split(',').map(str::to_owned)),
                "filter" => search.filter = Some(value.to_owned()).filter(|filter| !filter.trim().is_empty()),
                "sortby" => search.sort_by = Some(value.to_owned()).filter(|name| !name.is_empty()),
                "sortorder" => search.sort_order = Some(value.to_owned()).filter(|order| !order.is_empty()),
                "startindex" => {
                    let wrong = |_| Error::value("startIndex must be a whole number");
                    search.start_index = Some(value.trim().parse().map_err(wrong)?);
                }
                "count" => count = Some(value.trim()),
                "cursor" => search.cursor = Some(value.to_owned()),
                _ => {}
            }
        }
        if let Some(count) = count {
            search.count = Some(count.parse().map_err(|_| {
                let kind = if search.cursor.is_some() {
                    ScimType::InvalidCount
                } else {
                    ScimType::InvalidValue
                };
                Error::of(kind, "count must be a whole number")
            })?);
        }
        Ok(search)
    }

    /// What is asked for, with every name and number as it counts.
    ///
    /// # Errors
    /// `invalidFilter`; `invalidValue` for an order or a page that there cannot be; `invalidPath` for an
    /// order by something unknown.
    pub fn query(
        &self,
        types: &ResourceType,
        limits: PageLimits,
        strictness: Strictness,
    ) -> Result<Query, Error> {
        let filter = match &self.filter {
            Some(text) => {
                let filter = Filter::of_request(text, strictness)?;
                filter.check(types)?;
                Some(filter)
            }
            None => None,
        };
        let lists = [&self.attributes, &self.excluded_attributes];
        let [attributes, excluded] = lists.map(|names| names.iter().map(String::as_str));
        Ok(Query {
            filter,
            sort: self.sort(types, strictness)?,
            page: self.page(limits, strictness)?,
            projection: Projection::of(attributes, excluded, strictness)?,
        })
    }

    fn sort(&self, types: &ResourceType, strictness: Strictness) -> Result<Option<Sort>, Error> {
        let order = match &self.sort_order {
            None => SortOrder::Ascending,
            Some(order) if order.eq_ignore_ascii_case("ascending") => SortOrder::Ascending,
            Some(order) if order.eq_ignore_ascii_case("descending") => SortOrder::Descending,
            Some(_) => return Err(Error::value("sortOrder must be ascending or descending")),
        };
        let Some(by) = &self.sort_by else { return Ok(None) };
        let path = AttrPath::parse(by)
            .map_err(|error| Error::of(ScimType::InvalidPath, format!("sortBy, {error}")))?;
        match types.find(&path) {
            Some(place) => Ok(Some(Sort {
                by: place.path(),
                order,
            })),
            None if strictness.is_strict() => Err(Error::of(
                ScimType::InvalidPath,
                format!("sortBy: there is no attribute `{path}`"),
            )),
            None => Ok(None),
        }
    }

    fn page(&self, limits: PageLimits, strictness: Strictness) -> Result<Page, Error> {
        if strictness.is_strict() && self.cursor.is_some() && self.start_index.is_some() {
            return Err(Error::value(
                "a page begins at startIndex or at a cursor, not at both",
            ));
        }
        // Less than nothing is nothing, by the standard.
        let count = match self.count {
            Some(count) => u64::try_from(count).unwrap_or(0).min(limits.max_size),
            None => limits.default_size.min(limits.max_size),
        };
        let by_cursor = match (&self.cursor, self.start_index) {
            (Some(_), _) => true,
            (None, Some(_)) => false,
            (None, None) => limits.method == PageMethod::Cursor,
        };
        Ok(if by_cursor {
            let cursor = self.cursor.clone().filter(|cursor| !cursor.is_empty());
            Page::Cursor { cursor, count }
        } else {
            let start = u64::try_from(self.start_index.unwrap_or(1)).unwrap_or(1).max(1);
            Page::Index { start, count }
        })
    }

    /// The body, for a client.
    pub fn to_json(&self) -> Value {
        let mut body = json!(self);
        body["schemas"] = json!([SEARCH_SCHEMA]);
        body
    }
}
