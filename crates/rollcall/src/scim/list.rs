//! Lists: filtered, in an order, page by page.
//!
//! There are three ways. A filter that an index serves finds the few that may be meant by it. A list without filter and
//! order is read from its place on. Everything else is looked at, in portions: others read in between, and only what the
//! page holds, or the keys of an order, stay in memory. How much is looked at for one answer is bounded; with a cursor,
//! an answer may hold less than was asked for, and the next one goes on.

use std::collections::HashMap;

use rollcall_db::Tx;
use rollcall_scim::filter::{Literal, Operator};
use rollcall_scim::messages::{ListResponse, Page, PageLimits, PageMethod, Query, SearchRequest};
use rollcall_scim::{AttrPath, Error, Filter, Object, ScimType};
use serde_json::Value;

use super::cursor::{self, Position};
use super::order::{SortKey, compared};
use super::{Kind, Provider, ScimError, wants};
use crate::connection::{Key, Which, groups, users};

/// How pages are given out.
pub const LIMITS: PageLimits = PageLimits {
    default_size: 100,
    max_size: 1_000,
    method: PageMethod::Index,
};

/// How many resources are read at once.
const PORTION: usize = 1_000;

/// How many portions are looked at for one page with a cursor.
const PORTIONS: usize = 20;

/// How many resources are looked at for one page with an index, which needs to know how many there are.
const MOST_LOOKED_AT: u64 = 200_000;

/// How many resources are put into an order.
const MOST_ORDERED: usize = 50_000;

/// A list that is asked for.
#[derive(Clone, Debug)]
struct Asked {
    kind: Kind,
    query: Query,
    /// What its cursors bear.
    mark: String,
    /// Whether the members of groups have to be read.
    with_members: bool,
}

/// What a filter demands to be equal that an index serves. Whatever else it demands is decided on what is found.
fn anchor(kind: Kind, filter: &Filter) -> Option<Key> {
    match filter {
        Filter::And(parts) => parts.iter().find_map(|part| anchor(kind, part)),
        Filter::Compare {
            path,
            operator: Operator::Eq,
            value: Literal::String(value),
        } => {
            let place = kind.types().find(path)?;
            if place.extension.is_some() || place.sub.is_some() {
                return None;
            }
            let name = place.attribute.name.as_str();
            match kind {
                Kind::User => users::ROWS.key(name, value),
                Kind::Group => groups::ROWS.key(name, value),
            }
        }
        _ => None,
    }
}

/// Whether a filter asks for an attribute.
fn asks(filter: &Filter, name: &str) -> bool {
    let is_named = |path: &AttrPath| path.name.eq_ignore_ascii_case(name);
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().any(|part| asks(part, name)),
        Filter::Not(filter) => asks(filter, name),
        Filter::Present(path) | Filter::Compare { path, .. } | Filter::Has { path, .. } => is_named(path),
    }
}

fn number(resource: &Object) -> String {
    let id = resource.get("id").and_then(Value::as_str);
    id.unwrap_or_default().to_owned()
}

/// What was found for one page.
#[derive(Default)]
struct Found {
    total: Option<u64>,
    resources: Vec<Object>,
    /// Where the next page begins, for pages with a cursor.
    next: Option<Position>,
}

impl Provider {
    /// A page of a list.
    ///
    /// # Errors
    /// `invalidFilter`, `invalidPath`, `invalidValue`, `invalidCursor`, `tooMany`; what the database reports.
    pub async fn list(&self, kind: Kind, search: &SearchRequest) -> Result<Value, ScimError> {
        let types = kind.types();
        let query = search.query(types, LIMITS, self.strictness())?;
        let order = query
            .sort
            .as_ref()
            .map_or_else(String::new, |sort| format!("{} {:?}", sort.by, sort.order));
        let asked_in_filter = query
            .filter
            .as_ref()
            .is_some_and(|filter| asks(filter, "members"));
        let asked_in_order = query.sort.as_ref().is_some_and(|sort| sort.by.name == "members");
        let asked = Asked {
            kind,
            mark: cursor::mark(kind, search.filter.as_deref(), &order),
            with_members: asked_in_filter || asked_in_order || wants(&query.projection, types, "members"),
            query,
        };
        let projection = asked.query.projection.clone();
        let (start, by_cursor) = match &asked.query.page {
            Page::Index { start, .. } => (*start, None),
            Page::Cursor { .. } => (1, Some(asked.mark.clone())),
        };
        let found = self.find(asked).await?;
        let project = |resource: Object| projection.apply(&resource, types);
        let resources: Vec<Object> = found.resources.into_iter().map(project).collect();
        Ok(match by_cursor {
            None => ListResponse::by_index(found.total.unwrap_or_default(), start, resources),
            Some(mark) => {
                let next = found.next.map(|position| cursor::write(&mark, &position));
                ListResponse::by_cursor(found.total, next, resources)
            }
        }
        .to_json())
    }

    /// A page of resources of all types: the users that are meant, and behind them the groups. There is no order among
    /// different types, and no cursor.
    ///
    /// # Errors
    /// Those of [`Provider::list`]; `invalidValue` for an order or a cursor.
    pub async fn list_all(&self, search: &SearchRequest) -> Result<Value, ScimError> {
        if search.cursor.is_some() || search.sort_by.is_some() {
            let detail = "resources of all types are read without cursor and sortBy; ask /Users or /Groups";
            return Err(Error::of(ScimType::InvalidValue, detail).into());
        }
        let mut start = search.start_index.unwrap_or(1).max(1);
        let most = i64::try_from(LIMITS.default_size).unwrap_or(i64::MAX);
        let mut count = search.count.unwrap_or(most).max(0);
        let (first, mut total, mut resources) = (start, 0, Vec::new());
        for kind in Kind::ALL {
            let search = SearchRequest {
                start_index: Some(start),
                count: Some(count),
                ..search.clone()
            };
            let mut page = self.list(kind, &search).await?;
            let found = page["totalResults"].as_i64().unwrap_or_default();
            if let Value::Array(here) = page["Resources"].take() {
                count = (count - i64::try_from(here.len()).unwrap_or(i64::MAX)).max(0);
                resources.extend(here.into_iter().filter_map(|it| it.as_object().cloned()));
            }
            start = (start - found).max(1);
            total += found;
        }
        let (total, first) = (total.unsigned_abs(), first.unsigned_abs());
        Ok(ListResponse::by_index(total, first, resources).to_json())
    }

    async fn find(&self, asked: Asked) -> Result<Found, ScimError> {
        let anchored = asked
            .query
            .filter
            .as_ref()
            .and_then(|filter| anchor(asked.kind, filter));
        let (is_ordered, is_filtered) = (asked.query.sort.is_some(), asked.query.filter.is_some());
        match anchored {
            Some(anchor) => self.find_by(asked, anchor).await,
            None if is_ordered => self.find_in_order(asked).await,
            None if is_filtered => self.find_by_looking(asked).await,
            None => self.find_from(asked).await,
        }
    }

    /// The resources that an index finds, of those that are meant.
    async fn find_by(&self, asked: Asked, key: Key) -> Result<Found, ScimError> {
        let (provider, of) = (self.clone(), asked.clone());
        let reading = self
            .hub
            .db
            .read(move |tx| provider.read(tx, &of, Which::With(&key)));
        let found = reading.await?;
        let mut meant: Vec<Object> = found
            .into_iter()
            .filter(|resource| asked.means(resource))
            .collect();
        if let Some(sort) = &asked.query.sort {
            let key = |resource: &Object| {
                (
                    SortKey::of(resource, asked.kind.types(), &sort.by),
                    number(resource),
                )
            };
            meant.sort_by(|a, b| compared(sort.order, &key(a), &key(b)));
        }
        let total = meant.len() as u64;
        let (skip, count) = asked.window()?;
        let rest = meant
            .into_iter()
            .skip(usize::try_from(skip).unwrap_or(usize::MAX));
        let resources: Vec<Object> = rest.take(count).collect();
        let end = skip + resources.len() as u64;
        Ok(Found {
            total: Some(total),
            next: (end < total && count > 0).then_some(Position::Offset(end)),
            resources,
        })
    }

    /// A page of everything, in the order of the ids.
    async fn find_from(&self, asked: Asked) -> Result<Found, ScimError> {
        let provider = self.clone();
        let reading = self.hub.db.read(move |tx| match &asked.query.page {
            Page::Index { start, count } => {
                let total = provider.count(tx, asked.kind)?;
                let resources = match usize::try_from(*count).unwrap_or(0) {
                    0 => Vec::new(),
                    count => provider.read(tx, &asked, Which::From(start - 1, count))?,
                };
                Ok::<_, ScimError>(Found {
                    total: Some(total),
                    resources,
                    next: None,
                })
            }
            Page::Cursor { count, .. } => {
                let after = asked.after()?;
                let count = usize::try_from(*count).unwrap_or(0);
                let mut resources = match count {
                    0 => Vec::new(),
                    count => provider.read(tx, &asked, Which::After(&after, count + 1))?,
                };
                let is_last = resources.len() <= count;
                resources.truncate(count);
                let next = resources.last().map(number).filter(|_| !is_last);
                Ok(Found {
                    total: None,
                    next: next.map(Position::After),
                    resources,
                })
            }
        });
        reading.await
    }

    /// A page of what a filter means, in the order of the ids, found by looking.
    async fn find_by_looking(&self, asked: Asked) -> Result<Found, ScimError> {
        let (by_cursor, start, count) = match &asked.query.page {
            Page::Index { start, count } => (false, start - 1, *count),
            Page::Cursor { count, .. } => (true, 0, *count),
        };
        let count = usize::try_from(count).unwrap_or(0);
        if by_cursor && count == 0 {
            return Ok(Found::default());
        }
        let mut after = if by_cursor { asked.after()? } else { String::new() };
        let mut resources: Vec<Object> = Vec::new();
        let (mut meant, mut looked_at) = (0_u64, 0_u64);
        loop {
            let portion = self.portion(&asked, &after).await?;
            let is_last = portion.len() < PORTION;
            looked_at += portion.len() as u64;
            for resource in portion {
                after = number(&resource);
                if !asked.means(&resource) {
                    continue;
                }
                meant += 1;
                if meant > start && resources.len() < count {
                    resources.push(resource);
                }
                if by_cursor && resources.len() == count {
                    // There may be nothing behind it: then the next page is empty, and the last.
                    let next = Some(Position::After(after));
                    return Ok(Found {
                        total: None,
                        resources,
                        next,
                    });
                }
            }
            if is_last {
                let total = (!by_cursor).then_some(meant);
                return Ok(Found {
                    total,
                    resources,
                    next: None,
                });
            }
            if by_cursor && looked_at >= (PORTION * PORTIONS) as u64 {
                let next = Some(Position::After(after));
                return Ok(Found {
                    total: None,
                    resources,
                    next,
                });
            }
            if looked_at >= MOST_LOOKED_AT {
                return Err(too_many(
                    MOST_LOOKED_AT,
                    "ask page by page with a cursor, or by id, userName, displayName or externalId",
                ));
            }
        }
    }

    /// A page of what a filter means, or of everything, in another order.
    async fn find_in_order(&self, asked: Asked) -> Result<Found, ScimError> {
        let Some(sort) = asked.query.sort.clone() else {
            return self.find_by_looking(asked).await;
        };
        let (skip, count) = asked.window()?;
        let mut keys: Vec<(SortKey, String)> = Vec::new();
        let mut after = String::new();
        loop {
            let portion = self.portion(&asked, &after).await?;
            let is_last = portion.len() < PORTION;
            for resource in portion {
                after = number(&resource);
                if asked.means(&resource) {
                    keys.push((
                        SortKey::of(&resource, asked.kind.types(), &sort.by),
                        after.clone(),
                    ));
                }
            }
            if keys.len() > MOST_ORDERED {
                return Err(too_many(
                    MOST_ORDERED as u64,
                    "ask for fewer by a filter, or without sortBy",
                ));
            }
            if is_last {
                break;
            }
        }
        keys.sort_by(|a, b| compared(sort.order, a, b));
        let total = keys.len() as u64;
        let rest = keys.into_iter().skip(usize::try_from(skip).unwrap_or(usize::MAX));
        let ids: Vec<String> = rest.take(count).map(|(_, id)| id).collect();
        let end = skip + ids.len() as u64;
        let next = (end < total && count > 0).then_some(Position::Offset(end));
        let provider = self.clone();
        let reading = self.hub.db.read(move |tx| provider.many(tx, &asked, &ids));
        Ok(Found {
            total: Some(total),
            resources: reading.await?,
            next,
        })
    }

    /// The resources after an id, as many as are read at once.
    async fn portion(&self, asked: &Asked, after: &str) -> Result<Vec<Object>, ScimError> {
        let (provider, asked, after) = (self.clone(), asked.clone(), after.to_owned());
        let reading = self
            .hub
            .db
            .read(move |tx| provider.read(tx, &asked, Which::After(&after, PORTION)));
        reading.await
    }

    fn count(&self, tx: &mut Tx<'_>, kind: Kind) -> Result<u64, ScimError> {
        let id = &self.connection.id;
        Ok(match kind {
            Kind::User => users::ROWS.count(tx, id)?,
            Kind::Group => groups::ROWS.count(tx, id)?,
        })
    }

    /// Some of the resources that are asked for.
    fn read(&self, tx: &mut Tx<'_>, asked: &Asked, which: Which<'_>) -> Result<Vec<Object>, ScimError> {
        let id = &self.connection.id;
        match asked.kind {
            Kind::User => {
                let kept = users::ROWS.read(tx, id, which)?;
                Ok(self.user_resources(tx, &kept)?)
            }
            Kind::Group => {
                let kept = groups::ROWS.read(tx, id, which)?;
                self.group_resources(tx, &kept, asked.with_members)
            }
        }
    }

    /// The resources with these ids, in their order.
    fn many(&self, tx: &mut Tx<'_>, asked: &Asked, ids: &[String]) -> Result<Vec<Object>, ScimError> {
        let found = self.read(tx, asked, Which::Ids(ids))?.into_iter();
        let mut found: HashMap<String, Object> = found.map(|it| (number(&it), it)).collect();
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }
}

impl Asked {
    /// Whether a resource is meant by the filter.
    fn means(&self, resource: &Object) -> bool {
        let filter = self.query.filter.as_ref();
        filter.is_none_or(|filter| filter.matches(resource, self.kind.types()))
    }

    fn position(&self) -> Result<Option<Position>, ScimError> {
        match &self.query.page {
            Page::Cursor {
                cursor: Some(cursor), ..
            } => Ok(Some(cursor::read(&self.mark, cursor)?)),
            _ => Ok(None),
        }
    }

    /// The id behind which a page with a cursor begins.
    fn after(&self) -> Result<String, ScimError> {
        match self.position()? {
            None => Ok(String::new()),
            Some(Position::After(id)) => Ok(id),
            Some(Position::Offset(_)) => Err(misplaced()),
        }
    }

    /// How many resources of an order come before the page, and how many it holds.
    fn window(&self) -> Result<(u64, usize), ScimError> {
        let (skip, count) = match &self.query.page {
            Page::Index { start, count } => (start - 1, *count),
            Page::Cursor { count, .. } => match self.position()? {
                None => (0, *count),
                Some(Position::Offset(offset)) => (offset, *count),
                Some(Position::After(_)) => return Err(misplaced()),
            },
        };
        Ok((skip, usize::try_from(count).unwrap_or(0)))
    }
}

/// A cursor whose position is of another way to read the list than its mark says: nobody was given it.
fn misplaced() -> ScimError {
    Error::of(ScimType::InvalidCursor, "this cursor was never given out").into()
}

fn too_many(most: u64, instead: &str) -> ScimError {
    let detail = format!("more than {most} resources would have to be looked at; {instead}");
    Error::of(ScimType::TooMany, detail).into()
}
