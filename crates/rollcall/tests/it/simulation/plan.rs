//! What is going to happen in a run, before it happens: so that parts of it can be left out.

use std::collections::BTreeSet;
use std::time::Duration;

use rollcall_db::testing::Fault;

use super::chance::Dice;

/// How many steps a run has, or a few more.
const STEPS: usize = 200;

/// How long a slow commit takes.
const SLOW: Duration = Duration::from_millis(1_500);

/// How long what is settled waits in its queue: long enough for somebody to act meanwhile.
const QUEUED: Duration = Duration::from_secs(10);

/// An enum with the list of all of its variants, each with how often it is chosen if that matters.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident $weight:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum $name {
            $($(#[$about])* $variant,)+
        }

        impl $name {
            /// All of them, each with its weight.
            pub(super) const ALL: &[(Self, u64)] = &[$((Self::$variant, $weight)),+];
        }
    };
}

named! {
    /// Something that somebody does.
    Deed {
        CreateUser 20,
        DescribeUser 16,
        RenameUser 6,
        SetPassword 4,
        DisableUser 3,
        EnableUser 3,
        LockUser 3,
        UnlockUser 3,
        SetUnits 8,
        DeleteUser 5,
        CreateUnit 6,
        UpdateUnit 3,
        MoveUnit 5,
        /// A unit moves into the one that the application with a narrow scope sees.
        MoveUnitIntoScope 3,
        /// A unit moves directly below the root, and so out of that scope if it was within.
        MoveUnitOutOfScope 3,
        DeleteUnit 2,
        CreateGroup 5,
        UpdateGroup 3,
        AddMembers 8,
        RemoveMembers 5,
        DeleteGroup 2,
        ExpireDue 2,
        EraseUser 3,
        Trim 2,
        CreateApplication 2,
        UpdateApplication 3,
        DeleteApplication 1,
        SetEncryptionKey 1,
        GenerateEncryptionKey 1,
        ChangeScope 2,
        ChangeSubscription 1,
        Pause 1,
        Resume 3,
        EndSuspension 2,
        TestConnectivity 1,
        Push 4,
        Resend 3,
        Skip 1,
        Dismiss 1,
        Synchronize 3,
        Cancel 1,
        PublishKey 2,
        TryKey 2,
        WithdrawKey 1,
        RevertKey 1,
        ReplaceKey 1,
        RestartReceiver 1,
        BackUp 2,
        Restore 2,
        Stop 2,
        Crash 2,
        Freeze 2,
        SetClock 2,
    }
}

impl Deed {
    /// Whether an administrator gives something up by it, so that copies are equal only after a full
    /// synchronization.
    pub(super) fn gives_up(self) -> bool {
        matches!(
            self,
            Self::ChangeSubscription | Self::Skip | Self::Dismiss | Self::Cancel
        )
    }
}

named! {
    /// Something that goes wrong by itself.
    Kind {
        RequestLost 1,
        /// The connection is reset while the body is under way.
        RequestCut 1,
        /// The body takes seconds to arrive.
        RequestSlow 1,
        AnswerLost 1,
        Late 1,
        Away 1,
        Unavailable 1,
        Refused 1,
        Redirected 1,
        Garbage 1,
        Cut 1,
        Nulls 1,
        Twice 1,
        /// An old request arrives once more.
        Replayed 1,
        WantedAgain 1,
        DoneAndWantedAgain 1,
        Poison 1,
        /// What the inbox hands an event to fails, before or after its work is done.
        HandlerFails 1,
        CommitLost 1,
        CommitUnheard 1,
        CommitInDoubt 1,
        DatabaseBusy 1,
        DiskFull 1,
        CommitSlow 1,
        /// What is settled waits, and what is asked for later is done before.
        SettlementsQueued 1,
        /// Nobody who waits for news of the log is woken.
        CommitUnannounced 1,
        KilledBefore 1,
        KilledAfter 1,
        ReceiversCommitInDoubt 1,
        ReceiversDatabaseBusy 1,
        ReceiversDiskFull 1,
        ReceiverKilledBefore 1,
        ReceiverKilledAfter 1,
    }
}

impl Kind {
    /// What it does to a commit of a receiver, if it is about those.
    pub(super) fn of_receivers_commit(self) -> Option<Fault> {
        Some(match self {
            Self::ReceiversCommitInDoubt => Fault::UnheardForGood,
            Self::ReceiversDatabaseBusy => Fault::Busy,
            Self::ReceiversDiskFull => Fault::Full,
            Self::ReceiverKilledBefore => Fault::KilledBefore,
            Self::ReceiverKilledAfter => Fault::KilledAfter,
            _ => return None,
        })
    }

    /// What it does to a commit of the hub, if it is about those.
    pub(super) fn of_commit(self) -> Option<Fault> {
        Some(match self {
            Self::CommitLost => Fault::Lost,
            Self::CommitUnheard => Fault::Unheard,
            Self::CommitInDoubt => Fault::UnheardForGood,
            Self::DatabaseBusy => Fault::Busy,
            Self::DiskFull => Fault::Full,
            Self::CommitSlow => Fault::Slow(SLOW),
            Self::SettlementsQueued => Fault::Queued(QUEUED),
            Self::CommitUnannounced => Fault::Unannounced,
            Self::KilledBefore => Fault::KilledBefore,
            Self::KilledAfter => Fault::KilledAfter,
            _ => return None,
        })
    }
}

/// A deed, the numbers that say of whom it is, and how long it is quiet afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) deed: Deed,
    pub(super) whom: u64,
    pub(super) what: u64,
    pub(super) number: usize,
    pub(super) pause: u64,
}

/// What comes in a row and without a pause, each step to the next application. Some mistakes need two deeds that meet
/// in one application, and single deeds would hardly ever meet there.
const ROWS: &[&[Deed]] = &[
    // Sent again after the log has forgotten.
    &[
        Deed::Trim,
        Deed::Resend,
        Deed::Resend,
        Deed::Resend,
        Deed::Resend,
        Deed::Resend,
    ],
    // Each is an act that must not pass for one of the settlements that are queued.
    &[Deed::EndSuspension; 5],
    &[Deed::Pause, Deed::Resume],
];

/// One of so many deeds is the first of a row.
const ROW: u64 = 24;

/// How far administrators go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    /// They give up nothing, so that no full synchronization hides what was lost.
    Careful,
    /// They give up events, and everything is told anew at the end.
    Rough,
    /// They give up nothing, but go back to earlier backups.
    Restoring,
}

impl Manners {
    fn of(seed: u64) -> Self {
        match seed / 2 % 4 {
            0 | 2 => Self::Careful,
            1 => Self::Rough,
            _ => Self::Restoring,
        }
    }

    fn allow(self, deed: Deed) -> bool {
        match self {
            Self::Careful => !deed.gives_up() && deed != Deed::Restore,
            Self::Rough => true,
            Self::Restoring => !deed.gives_up(),
        }
    }
}

/// One of so many commits fails.
const COMMITS: u64 = 60;

/// What may happen in a run.
///
/// Where everything can happen, little of it happens together: most mistakes need two or three rare things within a
/// second. In half of the runs, therefore, each deed and each fault is left out by the toss of a coin, and what is left
/// happens the more often (swarm testing: Groce and others, ISSTA 2012).
struct Repertoire {
    deeds: Vec<Deed>,
    /// Those of which every deed may happen.
    rows: Vec<&'static [Deed]>,
    faults: BTreeSet<Kind>,
    commits: u64,
}

impl Repertoire {
    fn of(seed: u64) -> Self {
        let manners = Manners::of(seed);
        // Apart from the dice that make the steps.
        let dice = Dice::new(seed.rotate_left(32));
        let is_swarm = seed / 8 % 2 == 1;
        let is_in = || !is_swarm || dice.one_in(2);
        let allowed = Deed::ALL.iter().filter(|(deed, _)| manners.allow(*deed));
        let deeds: Vec<_> = allowed
            // Without users there would be nothing to tell.
            .filter(|(deed, _)| is_in() || *deed == Deed::CreateUser)
            .flat_map(|(deed, weight)| (0..*weight).map(move |_| *deed))
            .collect();
        let may = |row: &&&[Deed]| row.iter().all(|deed| deeds.contains(deed));
        Self {
            rows: ROWS.iter().filter(may).copied().collect(),
            deeds,
            faults: Kind::ALL
                .iter()
                .map(|(kind, _)| *kind)
                .filter(|_| is_in())
                .collect(),
            commits: if is_swarm {
                [COMMITS, 25, 10][usize::try_from(dice.below(3)).unwrap()]
            } else {
                COMMITS
            },
        }
    }
}

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// How many nodes share the database.
    pub(super) nodes: usize,
    pub(super) steps: Vec<Step>,
    pub(super) faults: BTreeSet<Kind>,
    /// One of so many commits of a node fails, if any of the faults is about those.
    pub(super) commits: u64,
}

impl Plan {
    /// In which nothing happens.
    pub(super) fn empty() -> Self {
        Self {
            seed: 1,
            nodes: 1,
            steps: Vec::new(),
            faults: BTreeSet::new(),
            commits: COMMITS,
        }
    }

    /// The run of a seed. In every other one two nodes deliver.
    pub(super) fn of(seed: u64) -> Self {
        let dice = Dice::new(seed);
        let Repertoire {
            deeds,
            rows,
            faults,
            commits,
        } = Repertoire::of(seed);
        let mut steps: Vec<Step> = Vec::new();
        while steps.len() < STEPS {
            let row = if dice.one_in(ROW) { dice.pick(&rows) } else { None };
            let single = dice.pick(&deeds).map_or(&[][..], std::slice::from_ref);
            let (whom, what) = (dice.next(), dice.next());
            for (nth, deed) in (0..).zip(row.map_or(single, |row| *row)) {
                steps.push(Step {
                    deed: *deed,
                    whom: whom.wrapping_add(nth),
                    what,
                    number: steps.len(),
                    pause: 0,
                });
            }
            if let Some(last) = steps.last_mut() {
                last.pause = match dice.below(20) {
                    0 => dice.below(60_000),
                    1 | 2 => dice.below(5_000),
                    3..=11 => dice.below(300),
                    _ => 0,
                };
            }
        }
        Self {
            seed,
            nodes: if seed.is_multiple_of(2) { 2 } else { 1 },
            steps,
            faults,
            commits,
        }
    }
}

impl std::fmt::Display for Plan {
    /// What happens, for people: a line for each deed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "on {} node(s), with these faults (of commits: one in {}): {:?}",
            self.nodes, self.commits, self.faults
        )?;
        for step in &self.steps {
            let pause = match step.pause {
                0 => String::new(),
                pause => format!(", then {pause} ms pass"),
            };
            writeln!(f, "  {:>3}. {:?}{pause}", step.number, step.deed)?;
        }
        Ok(())
    }
}
