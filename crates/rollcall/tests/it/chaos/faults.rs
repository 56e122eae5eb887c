//! What is killed and stopped, when, and for how long.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::apart::{self, Disk};
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
    /// It could not be reached.
    cuts: usize,
    /// It ended without being killed, as when its database is away at its start.
    ends: usize,
}

/// What happened.
#[derive(Default)]
pub(super) struct Counts {
    programs: BTreeMap<String, Count>,
    /// How often the disk was full.
    fills: usize,
}

impl Counts {
    fn of(&mut self, program: &Program) -> &mut Count {
        self.programs.entry(program.name.clone()).or_default()
    }

    /// How often a program ended without being killed.
    pub(super) fn ends(&self) -> usize {
        self.programs.values().map(|count| count.ends).sum()
    }

    /// A line for people.
    pub(super) fn report(&self) -> String {
        let mut text = String::from("chaos:");
        let mut all = Count::default();
        for (name, count) in &self.programs {
            let Count {
                kills,
                stops,
                long_stops,
                cuts,
                ends,
            } = *count;
            write!(
                text,
                " {name}: {kills} kills, {stops} stops ({long_stops} beyond the lease), cut off {cuts} times, ended \
                 by itself {ends} times;"
            )
            .unwrap();
            all.kills += kills;
            all.stops += stops;
            all.cuts += cuts;
        }
        write!(
            text,
            " together {} kills, {} stops, {} cuts; the disk was full {} times",
            all.kills, all.stops, all.cuts, self.fills
        )
        .unwrap();
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
    /// Whether the network may be cut.
    cuts: bool,
    /// Who cannot be reached, and until when.
    cut: Vec<(Instant, IpAddr)>,
    /// The disk that may be filled, and until when it is full.
    disk: Option<Disk>,
    full: Option<Instant>,
    /// Who was not killed yet.
    unharmed: Vec<usize>,
    counts: Counts,
}

impl Faults {
    /// `cuts` says whether the network may be cut, and `disk` is one that may be filled.
    pub(super) fn new(dice: Dice, programs: Vec<Program>, cuts: bool, disk: Option<Disk>) -> Self {
        Self {
            dice,
            later: programs.iter().map(|_| None).collect(),
            cuts,
            cut: Vec::new(),
            disk,
            full: None,
            unharmed: (0..programs.len()).collect(),
            programs,
            counts: Counts::default(),
        }
    }

    fn millis(&self, least: u64, more: u64) -> Duration {
        Duration::from_millis(least + self.dice.below(more))
    }

    /// Lets things happen for so long. Afterwards everything runs; what is returned must be held, or it ends.
    pub(super) fn run_for(mut self, lasts: Duration) -> (Vec<Program>, Option<Disk>, Counts) {
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
        self.catch_up(end + Duration::from_secs(3_600));
        // What ends by itself, because what it needs was away when it started, is started again.
        let well = Instant::now() + Duration::from_secs(3);
        while Instant::now() < well {
            self.catch_up(Instant::now());
            thread::sleep(Duration::from_millis(20));
        }
        (self.programs, self.disk, self.counts)
    }

    /// Does what is due, and sees who has ended.
    fn catch_up(&mut self, now: Instant) {
        self.cut.retain(|(until, address)| {
            let stays = *until > now;
            if !stays {
                apart::mend(*address);
            }
            stays
        });
        if let (Some(disk), true) = (&self.disk, self.full.is_some_and(|until| until <= now)) {
            disk.make_room();
            self.full = None;
        }
        for (program, later) in self.programs.iter_mut().zip(&mut self.later) {
            // While its address is cut off, nobody can listen there.
            let is_cut = self
                .cut
                .iter()
                .any(|(_, address)| *address == program.listen.ip());
            if let Some((due, what)) = *later
                && due <= now
                && !(is_cut && what == Later::Start)
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

    /// Does something to one of the programs, or to the disk.
    fn strike(&mut self) {
        if let Some(disk) = &self.disk
            && self.full.is_none()
            && self.dice.one_in(12)
        {
            disk.fill();
            self.counts.fills += 1;
            self.full = Some(Instant::now() + self.millis(100, 2_000));
            return;
        }
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
        let address = self.programs[index].listen.ip();
        if self.cuts && unharmed.is_none() && self.dice.one_in(6) {
            if self.cut.iter().all(|(_, cut)| *cut != address) {
                apart::cut(address);
                self.counts.of(&self.programs[index]).cuts += 1;
                let most = u64::try_from(LEASE.as_millis()).unwrap() * 2;
                self.cut.push((Instant::now() + self.millis(100, most), address));
            }
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
