//! What is killed, stopped, cut off and filled, when, and for how long.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::apart::{self, Disk};
use super::counts::{Counts, Happened};
use super::server;
use crate::programs::Program;
use crate::simulation::Dice;

/// The lease of the nodes.
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// For longer than a session waits before it asks whether a silent server still works.
const SILENCE: Duration = Duration::from_secs(7);

/// What can be harmed.
#[derive(Default)]
pub(super) struct Victims {
    pub(super) programs: Vec<Program>,
    pub(super) links: Vec<Link>,
    pub(super) disks: Vec<(&'static str, Disk)>,
}

/// A connection that can be cut: nothing that is sent to its address arrives.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) address: IpAddr,
    /// The program that listens at just this address: it cannot be started meanwhile.
    pub(super) listener: Option<String>,
}

/// What has to be done to a program later.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Later {
    Start,
    GoOn,
}

/// Something to do to one of the victims, by its number.
#[derive(Clone, Copy)]
enum Fault {
    Kill(usize),
    Stop(usize),
    Cut(usize),
    Fill(usize),
}

pub(super) struct Faults {
    dice: Dice,
    victims: Victims,
    /// For each program, what it waits for.
    later: Vec<Option<(Instant, Later)>>,
    /// For each link, until when it is cut.
    cut: Vec<Option<Instant>>,
    /// For each disk, until when it is full.
    full: Vec<Option<Instant>>,
    /// What is done once before chance decides, from the last to the first, also in a short run.
    first: Vec<Fault>,
    counts: Counts,
}

impl Faults {
    pub(super) fn new(dice: Dice, victims: Victims) -> Self {
        let Victims {
            programs,
            links,
            disks,
        } = &victims;
        let mut first: Vec<Fault> = (0..disks.len()).map(Fault::Fill).collect();
        first.extend((0..links.len()).map(Fault::Cut));
        first.extend((0..programs.len()).map(Fault::Stop));
        first.extend((0..programs.len()).map(Fault::Kill));
        Self {
            dice,
            later: programs.iter().map(|_| None).collect(),
            cut: links.iter().map(|_| None).collect(),
            full: disks.iter().map(|_| None).collect(),
            first,
            victims,
            counts: Counts::default(),
        }
    }

    fn millis(&self, least: u64, more: u64) -> Duration {
        Duration::from_millis(least + self.dice.below(more))
    }

    /// Mostly short, sometimes beyond the lease, rarely beyond the patience with a silent database. And whether it is
    /// beyond the lease.
    fn pause(&self) -> (Duration, bool) {
        if self.dice.one_in(16) {
            (SILENCE + self.millis(0, 3_000), true)
        } else if self.dice.one_in(4) {
            (LEASE + self.millis(500, 1_500), true)
        } else {
            (self.millis(20, 500), false)
        }
    }

    /// Lets things happen for so long. Afterwards everything runs; what is returned must be held, or it ends.
    pub(super) fn run_for(mut self, lasts: Duration) -> (Victims, Counts) {
        let end = Instant::now() + lasts;
        let mut next = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            self.catch_up(Instant::now());
            if Instant::now() >= next {
                let fault = self.first.pop().unwrap_or_else(|| self.some());
                self.strike(fault);
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
        (self.victims, self.counts)
    }

    fn of(&mut self, program: usize) -> &mut Happened {
        let name = self.victims.programs[program].name.clone();
        self.counts.programs.entry(name).or_default()
    }

    /// Whether a program cannot listen, because its address is cut off.
    fn is_cut_off(&self, program: usize) -> bool {
        let name = Some(&self.victims.programs[program].name);
        let mut links = self.victims.links.iter().zip(&self.cut);
        links.any(|(link, cut)| cut.is_some() && link.listener.as_ref() == name)
    }

    /// Does what is due, and sees who has ended.
    fn catch_up(&mut self, now: Instant) {
        for (link, until) in self.victims.links.iter().zip(&mut self.cut) {
            if until.take_if(|until| *until <= now).is_some() {
                apart::mend(link.address);
            }
        }
        for ((_, disk), until) in self.victims.disks.iter().zip(&mut self.full) {
            if until.take_if(|until| *until <= now).is_some() {
                disk.make_room();
            }
        }
        for index in 0..self.later.len() {
            if let Some((due, what)) = self.later[index]
                && due <= now
                && !(what == Later::Start && self.is_cut_off(index))
            {
                self.later[index] = None;
                match what {
                    Later::Start => self.victims.programs[index].start_again(),
                    Later::GoOn => self.victims.programs[index].go_on(),
                }
            }
            if self.victims.programs[index].has_ended() {
                self.of(index).ends += 1;
                self.later[index] = Some((Instant::now() + Duration::from_millis(200), Later::Start));
            }
        }
    }

    /// What chance wants.
    fn some(&self) -> Fault {
        let any = |count: usize| *self.dice.pick(&(0..count).collect::<Vec<_>>()).unwrap();
        let Victims {
            programs,
            links,
            disks,
        } = &self.victims;
        if !disks.is_empty() && self.dice.one_in(12) {
            return Fault::Fill(any(disks.len()));
        }
        if !links.is_empty() && self.dice.one_in(6) {
            return Fault::Cut(any(links.len()));
        }
        let mut program = any(programs.len());
        // A server that is killed all the time never finishes its recovery.
        if programs[program].name == server::NAME && !self.dice.one_in(3) {
            program = any(programs.len());
        }
        if self.dice.one_in(4) {
            Fault::Stop(program)
        } else {
            Fault::Kill(program)
        }
    }

    /// Does it, unless that is so already.
    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Fill(index) if self.full[index].is_none() => {
                let (name, disk) = &self.victims.disks[index];
                disk.fill();
                *self.counts.fills.entry((*name).to_owned()).or_default() += 1;
                self.full[index] = Some(Instant::now() + self.millis(100, 2_000));
            }
            Fault::Cut(index) if self.cut[index].is_none() => {
                let link = &self.victims.links[index];
                apart::cut(link.address);
                *self.counts.cuts.entry(link.name.clone()).or_default() += 1;
                self.cut[index] = Some(Instant::now() + self.pause().0);
            }
            // What is stopped already is killed.
            Fault::Kill(index) | Fault::Stop(index)
                if self.victims.programs[index].runs()
                    && (matches!(fault, Fault::Kill(_)) || self.later[index].is_some()) =>
            {
                self.victims.programs[index].kill();
                self.of(index).kills += 1;
                self.later[index] = Some((Instant::now() + self.millis(0, 300), Later::Start));
            }
            Fault::Stop(index) if self.victims.programs[index].runs() => {
                let (pause, long) = self.pause();
                self.victims.programs[index].stop();
                let happened = self.of(index);
                happened.stops += 1;
                happened.long_stops += usize::from(long);
                self.later[index] = Some((Instant::now() + pause, Later::GoOn));
            }
            _ => {}
        }
    }
}
