//! The change log, the requests to applications, the audit log, and why somebody did or did not arrive.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use anyhow::Result;
use rollcall_db::{DbError, Tx};

use super::client::{Client, Pages};
use super::directory::found;
use super::{Backend, Database};
use crate::api::{MOST, NumberedAttempt, ShownChange};
use crate::audit;
use crate::change::{self, Seq};
use crate::delivery::ledger::attempts::{self, Search};
use crate::directory::{User, earlier};
use crate::listing::Audited;
use crate::why::{self, Why, why};

/// The changes of the log, the newest first.
pub(in crate::cli) enum Changes<'a> {
    Database {
        database: &'a Database,
        wanted: change::Wanted,
    },
    Server(Pages<'a>),
}

impl Changes<'_> {
    /// The next of them, so many at most; `None` if there are no more.
    pub(in crate::cli) async fn next(&mut self, most: usize) -> Result<Option<Vec<ShownChange>>> {
        match self {
            Self::Server(pages) => pages.next(most).await,
            Self::Database { database, wanted } => {
                let read = wanted.clone();
                let page = database
                    .hub
                    .db
                    .read(move |tx| change::page(tx, &read, most))
                    .await?;
                let Some(oldest) = page.last() else {
                    return Ok(None);
                };
                wanted.before = oldest.seq;
                Ok(Some(page.into_iter().map(ShownChange::from).collect()))
            }
        }
    }
}

/// Requests to an application, the newest first.
pub(in crate::cli) struct Attempts {
    pub(in crate::cli) found: Vec<NumberedAttempt>,
    /// Whether not everything that is kept was looked at.
    pub(in crate::cli) cut_short: bool,
}

impl Backend {
    /// Why a user did or did not arrive at an application.
    pub(in crate::cli) async fn why(&self, user: &str, app: &str) -> Result<Why> {
        match self {
            Self::Database(database) => {
                let (user, app, now) = (user.to_owned(), app.to_owned(), self.now());
                Ok(database.hub.db.read(move |tx| why(tx, &user, &app, now)).await?)
            }
            Self::Server(client) => client.get(&["applications", app, "why", user]).answer().await,
        }
    }

    /// The id of a user as people write it, also of one who was deleted; of another subject, the id as it was written.
    pub(in crate::cli) async fn subject_id(&self, text: &str) -> Result<String> {
        match self {
            Self::Database(database) => {
                let text = text.to_owned();
                Ok(database.hub.db.read(move |tx| why::subject_id(tx, &text)).await?)
            }
            Self::Server(client) => {
                let user = client.get(&["users", text]).answer().await;
                if let Some(user) = found::<User>(user)? {
                    return Ok(user.id);
                }
                let changes = client.get(&["changes"]).with("subject", text);
                let known: Vec<ShownChange> = client.list(changes, 1).await?;
                Ok(known
                    .into_iter()
                    .next()
                    .map_or_else(|| text.to_owned(), |change| change.subject_id))
            }
        }
    }

    /// The position of the newest change.
    pub(in crate::cli) async fn head(&self) -> Result<Seq> {
        match self {
            Self::Database(database) => Ok(database.hub.db.read(change::head).await?.seq),
            Self::Server(client) => {
                let newest = client.get(&["changes"]).with("newestFirst", true);
                let newest: Vec<ShownChange> = client.list(newest, 1).await?;
                Ok(newest.first().map_or(0, |change| change.seq))
            }
        }
    }

    /// The newest changes up to a position, perhaps only those of one subject.
    pub(in crate::cli) fn newest_changes(&self, head: Seq, subject: Option<&str>) -> Changes<'_> {
        match self {
            Self::Database(database) => Changes::Database {
                database,
                wanted: change::Wanted {
                    after: Seq::MIN,
                    before: head.saturating_add(1),
                    subject: subject.map(str::to_owned),
                    newest_first: true,
                },
            },
            Self::Server(client) => Changes::Server(Pages::of(
                client
                    .get(&["changes"])
                    .with("newestFirst", true)
                    .with_some("subject", subject),
            )),
        }
    }

    /// The changes after a position, in order.
    pub(in crate::cli) async fn changes_after(&self, after: Seq, limit: usize) -> Result<Vec<ShownChange>> {
        match self {
            Self::Database(database) => {
                let read = database
                    .hub
                    .db
                    .read(move |tx| change::read_after(tx, after, limit));
                Ok(read.await?.into_iter().map(ShownChange::from).collect())
            }
            Self::Server(client) => {
                let changes = client.get(&["changes"]).with("after", after);
                client.list(changes, limit).await
            }
        }
    }

    /// The names of subjects, also of those that are gone; an id that nobody knows stands for itself.
    pub(in crate::cli) async fn names(&self, ids: Vec<String>) -> Result<Vec<String>> {
        match self {
            Self::Database(database) => {
                let names = move |tx: &mut Tx<'_>| {
                    let names = ids
                        .iter()
                        .map(|id| Ok(earlier::name_of(tx, id)?.unwrap_or_else(|| id.clone())));
                    names.collect::<Result<_, DbError>>()
                };
                Ok(database.hub.db.read(names).await?)
            }
            Self::Server(client) => {
                // A subject may be named often.
                let mut known = HashMap::new();
                for id in &ids {
                    if let Entry::Vacant(entry) = known.entry(id) {
                        entry.insert(name_of(client, id).await?);
                    }
                }
                let name = |id: &String| known.get(id).cloned().flatten().unwrap_or_else(|| id.clone());
                Ok(ids.iter().map(name).collect())
            }
        }
    }

    /// The newest requests to an application after one of them.
    pub(in crate::cli) async fn attempts(
        &self,
        application_id: &str,
        (after, limit): (i64, usize),
        (failed, looked_at): (bool, i64),
    ) -> Result<Attempts> {
        match self {
            Self::Database(database) => {
                let id = application_id.to_owned();
                let read = database.hub.db.read(move |tx| {
                    let mut search = Search::of(looked_at);
                    let found = match failed {
                        true => attempts::newest_failed(tx, &mut search, &id, after, limit)?,
                        false => attempts::newest(tx, &id, after, limit)?,
                    };
                    Ok::<_, DbError>((found, search.was_cut_short()))
                });
                let (found, cut_short) = read.await?;
                let found = found.into_iter();
                let found = found.map(|(number, attempt)| NumberedAttempt { number, attempt });
                Ok(Attempts {
                    found: found.collect(),
                    cut_short,
                })
            }
            Self::Server(client) => {
                let attempts = client
                    .get(&["applications", application_id, "attempts"])
                    .with_some("outcome", failed.then_some("troubled"));
                of_server(Pages::of(attempts), after, limit, failed).await
            }
        }
    }

    /// What the audit log has, the newest first.
    pub(in crate::cli) async fn audited(&self, wanted: Audited) -> Result<Vec<audit::Entry>> {
        match self {
            Self::Database(database) => Ok(wanted.read(&database.hub.db).await?),
            Self::Server(client) => {
                let Audited {
                    who,
                    origin,
                    action,
                    target,
                    since,
                    until,
                    limit,
                } = wanted;
                let entries = client
                    .get(&["audit"])
                    .with_some("who", who)
                    .with_some("origin", origin)
                    .with_some("action", action)
                    .with_some("target", target)
                    .with_some("since", since)
                    .with_some("until", until);
                client.list(entries, limit).await
            }
        }
    }
}

/// The requests of pages, down to one of them.
async fn of_server(mut pages: Pages<'_>, after: i64, limit: usize, failed: bool) -> Result<Attempts> {
    let (mut found, mut cut_short) = (Vec::new(), false);
    while found.len() < limit {
        let most = (limit - found.len()).min(MOST);
        let Some(page) = pages.next::<NumberedAttempt>(most).await? else {
            break;
        };
        let (told, before) = (page.len(), found.len());
        found.extend(page.into_iter().take_while(|attempt| attempt.number > after));
        if found.len() - before < told {
            break;
        }
        // The hub has looked at as many for this page as a command beside it looks at in all.
        if told < most && (failed || after > 0) {
            cut_short = failed && pages.has_more();
            break;
        }
    }
    Ok(Attempts { found, cut_short })
}

/// The name of a subject: as it is now, or the last that the log knows.
async fn name_of(client: &Client, id: &str) -> Result<Option<String>> {
    let (collection, field) = match id.split_once('_').map(|(prefix, _)| prefix) {
        Some("user") => ("users", "username"),
        Some("group") => ("groups", "name"),
        _ => ("organizational-units", "name"),
    };
    let now: Option<serde_json::Value> = found(client.get(&[collection, id]).answer().await)?;
    if let Some(name) = now.as_ref().and_then(|it| it[field].as_str()) {
        return Ok(Some(name.to_owned()));
    }
    let changes = client
        .get(&["changes"])
        .with("subject", id)
        .with("newestFirst", true);
    // Who sees a part of the directory does not see the log.
    let changes: Vec<ShownChange> = client.list(changes, 5).await.unwrap_or_default();
    Ok(changes.iter().find_map(|change| change.name().map(str::to_owned)))
}
