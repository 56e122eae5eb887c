//! What has happened since somebody looked: whom it was about, without what it was.
//!
//! Every change of the directory is in the log, so the directory is a function of the log's position: two snapshots with
//! the same [`head`](super::head) show the same units, users and groups. Whoever keeps something in memory that was made
//! of them remembers the position, and in a later snapshot asks here what to look at again.

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::SubjectKind;

use super::{ChangeKind, Seq, corrupt};

/// A change, as far as it says what is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What happened.
    pub kind: ChangeKind,
    /// Whether the subject is a user, a unit or a group.
    pub subject_kind: SubjectKind,
    /// The subject's id.
    pub subject_id: String,
}

/// The changes after one position up to another one, in order. `None` if they are more than `most`, or if the log does
/// not hold all of them any more (retention), so that there is no telling.
///
/// # Errors
/// What the database reports, or if there is something else in the log.
pub fn since(tx: &mut Tx<'_>, after: Seq, to: Seq, most: i64) -> Result<Option<Vec<News>>, DbError> {
    if to < after || to - after > most {
        return Ok(None);
    }
    if to == after {
        return Ok(Some(Vec::new()));
    }
    let rows = tx.query(
        "SELECT kind, subject_kind, subject_id FROM changes WHERE seq > $1 AND seq <= $2 ORDER BY seq",
        params![after, to],
    )?;
    // The log is gapless, so what is missing was taken away.
    if i64::try_from(rows.len()).ok() != Some(to - after) {
        return Ok(None);
    }
    let mut news = Vec::with_capacity(rows.len());
    for row in &rows {
        let (kind, subject_kind): (String, String) = (row.get(0)?, row.get(1)?);
        news.push(News {
            kind: ChangeKind::parse(&kind).ok_or_else(|| corrupt("kind", &kind))?,
            subject_kind: SubjectKind::parse(&subject_kind)
                .ok_or_else(|| corrupt("subject kind", &subject_kind))?,
            subject_id: row.get(2)?,
        });
    }
    Ok(Some(news))
}
