//! Leases: each application is delivered by one node.
//!
//! A node is a process that delivers. It has a row whose `beat` it raises every few seconds. Whoever sees
//! the beat of another node stand still for the length of a lease, by its own monotonic clock, removes that
//! node and takes over its applications; no clock of one machine is compared with that of another. Taking
//! over raises the application's epoch, which fences off whatever the old node may still try to settle.
//!
//! The other half is the node's own: it sends nothing once the last beat that it knows to be stored is older
//! than two thirds of a lease ([`Held::is_valid`]), so that it has stopped when others begin. A process that
//! was stopped and wakes up later finds its lease over before its next request. (If it was stopped between that
//! look and the system call, this one request is sent; nobody can recall it, but what comes of it is not stored.)
//!
//! Applications are spread evenly: a node that has more than its share gives some back, one that has less
//! takes free ones.
//!
//! On SQLite one process owns the folder ([`Policy::Sole`]): whoever else is in the table is gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall_db::{DbError, Tx, params};
use tokio::time::Instant;

use crate::clock::Millis;

/// Who else may deliver from this database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Nobody: whoever else is in the table has ended.
    Sole,
    /// Other nodes, which are told apart by their beats.
    #[default]
    Shared,
}

/// Whether the leases of this process hold.
#[derive(Clone, Debug)]
pub struct Held(Arc<Mutex<Option<Instant>>>);

impl Held {
    /// Leases that do not hold yet.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Whether requests may be sent now.
    pub fn is_valid(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|until| Instant::now() < until)
    }

    /// Notes that a beat that was begun at `begun` is stored.
    pub fn extend(&self, begun: Instant, lease: Duration, policy: Policy) {
        let until = match policy {
            // Nobody else may take over, however long the database is away.
            Policy::Sole => begun + Duration::from_secs(10 * 365 * 24 * 3_600),
            Policy::Shared => begun + lease * 2 / 3,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Notes that the leases are lost.
    pub fn lose(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::new()
    }
}

/// What a node has seen of the others: their beats, and since when each stands still.
#[derive(Debug, Default)]
pub struct Observed(HashMap<String, (i64, Instant)>);

impl Observed {
    /// Takes a look at the nodes' beats. Returns those that stood still for the length of a lease, each with
    /// the beat at which it stopped.
    pub fn look(
        &mut self,
        nodes: &[(String, i64)],
        own: &str,
        now: Instant,
        lease: Duration,
    ) -> Vec<(String, i64)> {
        self.0.retain(|id, _| nodes.iter().any(|(known, _)| known == id));
        let mut dead = Vec::new();
        for (id, beat) in nodes.iter().filter(|(id, _)| id != own) {
            let (seen, since) = self.0.entry(id.clone()).or_insert((*beat, now));
            if *seen != *beat {
                (*seen, *since) = (*beat, now);
            } else if now.duration_since(*since) >= lease {
                dead.push((id.clone(), *beat));
            }
        }
        dead
    }
}

/// Takes this process into the table of nodes. With [`Policy::Sole`] all others are removed.
///
/// # Errors
/// What the database reports.
pub fn join(tx: &mut Tx<'_>, node: &str, name: &str, policy: Policy, now: Millis) -> Result<(), DbError> {
    if policy == Policy::Sole {
        tx.execute("DELETE FROM nodes WHERE id <> $1", params![node])?;
        tx.execute(
            "UPDATE deliveries SET node = NULL WHERE node IS NOT NULL AND node <> $1",
            params![node],
        )?;
    }
    tx.execute(
        "INSERT INTO nodes (id, name, beat, started_at) VALUES ($1, $2, 1, $3)
         ON CONFLICT (id) DO UPDATE SET beat = nodes.beat + 1",
        params![node, name, now],
    )?;
    Ok(())
}

/// What a beat found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Whether this node is still in the table; otherwise somebody took over what it held.
    pub alive: bool,
    /// All nodes with their beats.
    pub nodes: Vec<(String, i64)>,
    /// The applications that this node delivers to, each with its epoch.
    pub leases: BTreeMap<String, i64>,
}

/// Raises the node's beat, removes `dead` nodes, and gives and takes applications until this node has its
/// share.
///
/// # Errors
/// What the database reports.
pub fn beat(tx: &mut Tx<'_>, node: &str, dead: &[(String, i64)]) -> Result<Beat, DbError> {
    let alive = tx.execute("UPDATE nodes SET beat = beat + 1 WHERE id = $1", params![node])? > 0;
    if !alive {
        return Ok(Beat {
            alive,
            nodes: Vec::new(),
            leases: BTreeMap::new(),
        });
    }
    for (id, beat) in dead {
        // Unless it has come back to life.
        if tx.execute(
            "DELETE FROM nodes WHERE id = $1 AND beat = $2",
            params![id.as_str(), *beat],
        )? > 0
        {
            tx.execute(
                "UPDATE deliveries SET node = NULL WHERE node = $1",
                params![id.as_str()],
            )?;
        }
    }
    let nodes = tx
        .query("SELECT id, beat FROM nodes ORDER BY id", params![])?
        .iter()
        .map(|row| Ok((row.get(0)?, row.get(1)?)))
        .collect::<Result<Vec<(String, i64)>, DbError>>()?;
    let counts = tx.query_one(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN node = $1 THEN 1 ELSE 0 END), 0) FROM deliveries",
        params![node],
    )?;
    let (all, own): (i64, i64) = (counts.get(0)?, counts.get(1)?);
    let others = i64::try_from(nodes.len()).unwrap_or(1).max(1);
    let share = all.div_euclid(others) + i64::from(all.rem_euclid(others) > 0);
    if own < share {
        tx.execute(
            "UPDATE deliveries SET node = $1, epoch = epoch + 1 WHERE node IS NULL AND application_id IN
                 (SELECT application_id FROM deliveries WHERE node IS NULL ORDER BY application_id LIMIT $2)",
            params![node, share - own],
        )?;
    }
    let mut leases = BTreeMap::new();
    for row in tx.query(
        "SELECT application_id, epoch FROM deliveries WHERE node = $1 ORDER BY application_id",
        params![node],
    )? {
        leases.insert(row.get(0)?, row.get(1)?);
    }
    // What is above the share is given back by its worker, once nothing of it is in flight.
    while i64::try_from(leases.len()).unwrap_or(i64::MAX) > share {
        leases.pop_last();
    }
    Ok(Beat { alive, nodes, leases })
}

/// Gives an application back, so that another node may take it.
///
/// # Errors
/// What the database reports.
pub fn release(tx: &mut Tx<'_>, node: &str, application_id: &str, epoch: i64) -> Result<(), DbError> {
    tx.execute(
        "UPDATE deliveries SET node = NULL WHERE application_id = $1 AND node = $2 AND epoch = $3",
        params![application_id, node, epoch],
    )?;
    Ok(())
}

/// Gives everything back and leaves.
///
/// # Errors
/// What the database reports.
pub fn leave(tx: &mut Tx<'_>, node: &str) -> Result<(), DbError> {
    tx.execute("UPDATE deliveries SET node = NULL WHERE node = $1", params![node])?;
    tx.execute("DELETE FROM nodes WHERE id = $1", params![node])?;
    Ok(())
}

/// A node and what it holds, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// `node_…`.
    pub id: String,
    /// Host and process.
    pub name: String,
    /// Since when it is there.
    pub started_at: Millis,
    /// How many applications it delivers to.
    pub applications: i64,
}

/// The nodes that deliver from this database.
///
/// # Errors
/// What the database reports.
pub fn nodes(tx: &mut Tx<'_>) -> Result<Vec<NodeInfo>, DbError> {
    tx.query(
        "SELECT n.id, n.name, n.started_at, (SELECT COUNT(*) FROM deliveries d WHERE d.node = n.id)
         FROM nodes n ORDER BY n.id",
        params![],
    )?
    .iter()
    .map(|row| {
        Ok(NodeInfo {
            id: row.get(0)?,
            name: row.get(1)?,
            started_at: row.get(2)?,
            applications: row.get(3)?,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_dead_only_after_it_was_seen_to_stand_still() {
        let lease = Duration::from_secs(10);
        let start = Instant::now();
        let mut observed = Observed::default();
        let at = |beat| vec![("node_a".to_owned(), beat), ("node_b".to_owned(), 1)];
        assert!(observed.look(&at(1), "node_b", start, lease).is_empty());
        let later = start + lease;
        assert!(observed.look(&at(2), "node_b", later, lease).is_empty());
        assert!(
            observed
                .look(&at(2), "node_b", later + lease / 2, lease)
                .is_empty()
        );
        assert_eq!(
            observed.look(&at(2), "node_b", later + lease, lease),
            [("node_a".to_owned(), 2)]
        );
    }
}
