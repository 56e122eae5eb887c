//! What happened in a run, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// How often each thing happened to a program.
#[derive(Clone, Copy, Default)]
pub(super) struct Happened {
    pub(super) kills: usize,
    pub(super) stops: usize,
    /// Of them, those beyond the lease.
    pub(super) long_stops: usize,
    /// It ended without being killed, as when its database is away at its start.
    pub(super) ends: usize,
}

/// The faults of a run.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) programs: BTreeMap<String, Happened>,
    /// How often each connection was cut.
    pub(super) cuts: BTreeMap<String, usize>,
    /// How often each disk was full.
    pub(super) fills: BTreeMap<String, usize>,
}

impl Counts {
    fn sum(&self, of: impl Fn(&Happened) -> usize) -> usize {
        self.programs.values().map(of).sum()
    }

    /// How often a program ended without being killed.
    pub(super) fn ends(&self) -> usize {
        self.sum(|it| it.ends)
    }
}

/// What must not be found, one sentence for each case.
#[derive(Default)]
pub(super) struct Findings {
    /// Acknowledged and not there, or not told.
    pub(super) lost: Vec<String>,
    /// Told first after something newer.
    pub(super) reordered: Vec<String>,
    pub(super) twice: Vec<String>,
}

impl Findings {
    pub(super) fn all(&self) -> impl Iterator<Item = &String> {
        self.lost.iter().chain(&self.reordered).chain(&self.twice)
    }
}

/// What came of a run.
pub(super) struct Report {
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) lasted: Duration,
    pub(super) counts: Counts,
    pub(super) writes: usize,
    /// Tries of the writers that had no answer.
    pub(super) in_doubt: usize,
    pub(super) requests: usize,
    pub(super) events: usize,
    pub(super) again: usize,
    /// By the mirror.
    pub(super) applied: usize,
    pub(super) findings: Findings,
}

impl Report {
    /// Whether nothing was found, and something happened in which it could have been.
    pub(super) fn is_well(&self) -> bool {
        self.findings.all().next().is_none() && self.applied > 0 && self.events > 0 && self.writes > 0
    }

    pub(super) fn assert_is_well(&self) {
        let found: Vec<_> = self.findings.all().take(20).collect();
        assert!(self.is_well(), "{found:#?}");
    }

    pub(super) fn to_json(&self) -> Value {
        let programs: BTreeMap<&String, Value> = self
            .counts
            .programs
            .iter()
            .map(|(name, it)| {
                let count = json!({
                    "kills": it.kills,
                    "stops": it.stops,
                    "stops_beyond_lease": it.long_stops,
                    "ended_by_itself": it.ends,
                });
                (name, count)
            })
            .collect();
        json!({
            "run": self.name,
            "seed": self.seed,
            "seconds": self.lasted.as_secs(),
            "writes_acknowledged": self.writes,
            "tries_without_answer": self.in_doubt,
            "kills": self.counts.sum(|it| it.kills),
            "stops": self.counts.sum(|it| it.stops),
            "programs": programs,
            "cuts": self.counts.cuts,
            "full_disks": self.counts.fills,
            "requests": self.requests,
            "events_delivered": self.events,
            "events_delivered_again": self.again,
            "events_applied_by_mirror": self.applied,
            "lost": self.findings.lost.len(),
            "reordered": self.findings.reordered.len(),
            "applied_twice": self.findings.twice.len(),
        })
    }
}

/// `12: one 4, other 8`
fn listed<'a>(counts: impl Iterator<Item = (&'a String, usize)>) -> String {
    let counts: Vec<_> = counts.collect();
    let sum: usize = counts.iter().map(|(_, count)| count).sum();
    let each: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if each.is_empty() {
        sum.to_string()
    } else {
        format!("{sum} ({})", each.join(", "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            programs,
            cuts,
            fills,
        } = &self.counts;
        let of = |what: fn(&Happened) -> usize| listed(programs.iter().map(|(name, it)| (name, what(it))));
        let seconds = self.lasted.as_secs();
        let (minutes, rest) = (seconds / 60, seconds % 60);
        writeln!(
            f,
            "chaos: {}, seed {}, {minutes} min {rest} s",
            self.name, self.seed
        )?;
        let lines = [
            (
                "writes acknowledged",
                format!("{} ({} tries had no answer)", self.writes, self.in_doubt),
            ),
            ("kills", of(|it| it.kills)),
            (
                "stops",
                format!(
                    "{}, {} beyond the lease",
                    of(|it| it.stops),
                    self.counts.sum(|it| it.long_stops)
                ),
            ),
            (
                "network cuts",
                listed(cuts.iter().map(|(name, count)| (name, *count))),
            ),
            (
                "full disks",
                listed(fills.iter().map(|(name, count)| (name, *count))),
            ),
            ("ended by themselves", of(|it| it.ends)),
            (
                "events delivered",
                format!(
                    "{} in {} requests, {} of them again; {} applied by the mirror",
                    self.events, self.requests, self.again, self.applied
                ),
            ),
            ("lost", self.findings.lost.len().to_string()),
            ("reordered", self.findings.reordered.len().to_string()),
            ("applied twice", self.findings.twice.len().to_string()),
        ];
        for (name, value) in lines {
            writeln!(f, "  {name:<20} {value}")?;
        }
        Ok(())
    }
}
