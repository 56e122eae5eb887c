//! What is killed and stopped, when, and for how long.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use super::programs::Program;
use super::server;
use crate::simulation::Dice;

/// The lease of the nodes.
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// How often each thing happened to a program.
#[derive(Clone, Copy, Default)]
struct Count {
    kills: usize,
    stops: usize,
    /// Of them, those beyond the lease.
    long_stops: usize,
    /// It ended without being killed, as when its database is away at its start.
    ends: usize,
}

/// What happened.
#[derive(Default)]
pub(super) struct Counts(BTreeMap<String, Count>);

impl Counts {
    fn of(&mut self, program: &Program) -> &mut Count {
        self.0.entry(program.name.clone()).or_default()
    }

    /// How often a program ended without being killed.
    pub(super) fn ends(&self) -> usize {
        self.0.values().map(|count| count.ends).sum()
    }

    /// A line for people.
    pub(super) fn report(&self) -> String {
        let mut text = String::from("chaos:");
        let mut all = Count::default();
        for (name, count) in &self.0 {
            let Count {
                kills,
                stops,
                long_stops,
                ends,
            } = *count;
            write!(
                text,
                " {name}: {kills} kills, {stops} stops ({long_stops} beyond the lease), {ends} ends by itself;"
            )
            .unwrap();
            all.kills += kills;
            all.stops += stops;
        }
        write!(text, " together {} kills and {} stops", all.kills, all.stops).unwrap();
        text
    }
}

/// What has to be done to a program later.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Later {
    Start,
    GoOn,
}

pub(super) struct Faults {
    dice: Dice,
    programs: Vec<Program>,
    /// For each program, what it waits for.
    later: Vec<Option<(Instant, Later)>>,
    /// Who was not killed yet.
    unharmed: Vec<usize>,
    counts: Counts,
}

impl Faults {
    pub(super) fn new(dice: Dice, programs: Vec<Program>) -> Self {
        Self {
            dice,
            later: programs.iter().map(|_| None).collect(),
            unharmed: (0..programs.len()).collect(),
            programs,
            counts: Counts::default(),
        }
    }

    fn millis(&self, least: u64, more: u64) -> Duration {
        Duration::from_millis(least + self.dice.below(more))
    }

    /// Lets things happen for so long. Afterwards everything runs; what is returned must be held, or it ends.
    pub(super) fn run_for(mut self, lasts: Duration) -> (Vec<Program>, Counts) {
        let end = Instant::now() + lasts;
        let mut next = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            self.catch_up(Instant::now());
            if Instant::now() >= next {
                self.strike();
                next = Instant::now() + self.millis(50, 400);
            }
            thread::sleep(Duration::from_millis(5));
        }
        while self.later.iter().any(Option::is_some) {
            self.catch_up(end + Duration::from_secs(3_600));
        }
        // What ends by itself, because what it needs was away when it started, is started again.
        let well = Instant::now() + Duration::from_secs(3);
        while Instant::now() < well {
            self.catch_up(Instant::now());
            thread::sleep(Duration::from_millis(20));
        }
        (self.programs, self.counts)
    }

    /// Does what is due, and sees who has ended.
    fn catch_up(&mut self, now: Instant) {
        for (program, later) in self.programs.iter_mut().zip(&mut self.later) {
            if let Some((due, what)) = *later
                && due <= now
            {
                *later = None;
                match what {
                    Later::Start => program.start_again(),
                    Later::GoOn => program.signal("-CONT"),
                }
            }
            if program.has_ended() {
                self.counts.of(program).ends += 1;
                *later = Some((Instant::now() + Duration::from_millis(200), Later::Start));
            }
        }
    }

    /// Kills or stops one of the programs.
    fn strike(&mut self) {
        let indexes: Vec<usize> = (0..self.programs.len()).collect();
        // Each is killed once before chance decides, also in a short run.
        let unharmed = self.unharmed.pop();
        let index = unharmed.unwrap_or_else(|| *self.dice.pick(&indexes).unwrap());
        let is_server = self.programs[index].name == server::NAME;
        // A server that is killed all the time never finishes its recovery.
        let rests = is_server && unharmed.is_none() && !self.dice.one_in(3);
        if rests || !self.programs[index].runs() {
            return;
        }
        let is_stopped = self.later[index].is_some();
        if is_server || is_stopped || unharmed.is_some() || !self.dice.one_in(4) {
            self.programs[index].kill();
            self.counts.of(&self.programs[index]).kills += 1;
            self.later[index] = Some((Instant::now() + self.millis(0, 300), Later::Start));
            return;
        }
        let long = self.dice.one_in(4);
        let pause = if long {
            LEASE + self.millis(500, 1_500)
        } else {
            self.millis(20, 500)
        };
        self.programs[index].signal("-STOP");
        let count = self.counts.of(&self.programs[index]);
        count.stops += 1;
        count.long_stops += usize::from(long);
        self.later[index] = Some((Instant::now() + pause, Later::GoOn));
    }
}
