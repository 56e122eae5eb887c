//! Long lists, read in portions, so that nobody waits at the database behind somebody who searches.

use rollcall_db::{Db, DbError, Tx};

use crate::directory::search::{self, Portion, Wanted};
use crate::directory::{Group, User};

/// Reads one portion of a list.
type Read<T> = fn(&mut Tx<'_>, &Wanted, &str, usize) -> Result<Portion<T>, DbError>;

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
