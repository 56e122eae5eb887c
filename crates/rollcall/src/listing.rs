//! Long lists, read in portions, so that nobody waits at the database behind somebody who searches.

use rollcall_db::{Db, DbError, Tx};
use serde::Deserialize;

use crate::application::store;
use crate::audit;
use crate::clock::Millis;
use crate::directory::search::{self, Portion, Wanted};
use crate::directory::{Group, User};

/// How many portions are looked at for one page.
const PORTIONS: usize = 3;

/// Reads one portion of a list.
pub type Read<T> = fn(&mut Tx<'_>, &Wanted, &str, usize) -> Result<Portion<T>, DbError>;

/// Users by username, those after one.
///
/// # Errors
/// What the database reports.
pub async fn users(db: &Db, wanted: &Wanted, after: &str, limit: usize) -> Result<Vec<User>, DbError> {
    all(db, search::users, wanted, after, limit).await
}

/// Groups by name, those after one.
///
/// # Errors
/// What the database reports.
pub async fn groups(db: &Db, wanted: &Wanted, after: &str, limit: usize) -> Result<Vec<Group>, DbError> {
    all(db, search::groups, wanted, after, limit).await
}

/// What a page has of a list: what a few portions hold, and the name after which the next page begins. It may hold fewer
/// than it has room for, and not be the last one: a search looks at so much for one page.
///
/// # Errors
/// What the database reports.
pub async fn page<T: Send + 'static>(
    db: &Db,
    read: Read<T>,
    wanted: &Wanted,
    after: &str,
    limit: usize,
) -> Result<Portion<T>, DbError> {
    let mut found = Vec::new();
    let mut next = Some(after.to_owned());
    for _ in 0..PORTIONS {
        let Some(from) = next.clone().filter(|_| found.len() < limit) else {
            break;
        };
        let (wanted, left) = (wanted.clone(), limit - found.len());
        let portion = db.read(move |tx| read(tx, &wanted, &from, left)).await?;
        found.extend(portion.found);
        next = portion.next;
    }
    Ok(Portion { found, next })
}

async fn all<T: Send + 'static>(
    db: &Db,
    read: Read<T>,
    wanted: &Wanted,
    after: &str,
    limit: usize,
) -> Result<Vec<T>, DbError> {
    let mut found = Vec::new();
    let mut next = Some(after.to_owned());
    while let Some(after) = next.filter(|_| found.len() < limit) {
        let (wanted, left) = (wanted.clone(), limit - found.len());
        let portion = db.read(move |tx| read(tx, &wanted, &after, left)).await?;
        found.extend(portion.found);
        next = portion.next;
    }
    Ok(found)
}

/// Which entries of the audit log are wanted, as people write it.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
pub struct Audited {
    /// Only by actors whose text contains this.
    pub who: Option<String>,
    /// Only from origins whose text contains this, such as an address.
    pub origin: Option<String>,
    /// Only actions whose name contains this.
    pub action: Option<String>,
    /// The id or name of what something was done to.
    pub target: Option<String>,
    /// Only from this time on.
    pub since: Option<Millis>,
    /// Only before this time.
    pub until: Option<Millis>,
    /// How many at most.
    #[serde(skip, default = "some_entries")]
    pub limit: usize,
}

/// How many entries there are to a page if nobody says.
fn some_entries() -> usize {
    100
}

impl Audited {
    /// Reads the newest of them, newest first.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn read(self, db: &Db) -> Result<Vec<audit::Entry>, DbError> {
        db.read(move |tx| {
            let filter = self.filter(tx)?;
            audit::list(tx, &filter, self.limit)
        })
        .await
    }

    /// Reads those of a page, looking at no more than a few thousand rows.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn page(self, db: &Db, from: audit::Position) -> Result<audit::Page, DbError> {
        db.read(move |tx| {
            let filter = self.filter(tx)?;
            audit::page(tx, &filter, from, self.limit)
        })
        .await
    }

    fn filter(&self, tx: &mut Tx<'_>) -> Result<audit::Filter, DbError> {
        let mut targets = Vec::new();
        if let Some(target) = &self.target {
            targets = store::ids_of(tx, target)?;
        }
        Ok(audit::Filter {
            who: self.who.clone(),
            origin: self.origin.clone(),
            action: self.action.clone(),
            targets,
            since: self.since,
            until: self.until,
        })
    }
}
