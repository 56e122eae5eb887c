//! What is going to happen in a run, before it happens: so that parts of it can be left out.

use std::collections::BTreeSet;

use rollcall_db::testing::Fault;

use super::chance::Dice;

/// Something that somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    CreateUser,
    DescribeUser,
    RenameUser,
    SetPassword,
    DisableUser,
    EnableUser,
    LockUser,
    UnlockUser,
    SetUnits,
    DeleteUser,
    CreateUnit,
    UpdateUnit,
    MoveUnit,
    DeleteUnit,
    CreateGroup,
    UpdateGroup,
    AddMembers,
    RemoveMembers,
    DeleteGroup,
    ExpireDue,
    ChangeScope,
    ChangeSubscription,
    Pause,
    Resume,
    Push,
    Resend,
    Skip,
    Dismiss,
    Synchronize,
    Cancel,
    PublishKey,
    TryKey,
    WithdrawKey,
    RevertKey,
    ReplaceKey,
    RestartReceiver,
    Stop,
    Crash,
    Freeze,
}

impl Deed {
    /// All of them, each with how often it is chosen.
    pub(super) const ALL: [(Self, u64); 39] = [
        (Self::CreateUser, 20),
        (Self::DescribeUser, 16),
        (Self::RenameUser, 6),
        (Self::SetPassword, 4),
        (Self::DisableUser, 3),
        (Self::EnableUser, 3),
        (Self::LockUser, 3),
        (Self::UnlockUser, 3),
        (Self::SetUnits, 8),
        (Self::DeleteUser, 5),
        (Self::CreateUnit, 6),
        (Self::UpdateUnit, 3),
        (Self::MoveUnit, 5),
        (Self::DeleteUnit, 2),
        (Self::CreateGroup, 5),
        (Self::UpdateGroup, 3),
        (Self::AddMembers, 8),
        (Self::RemoveMembers, 5),
        (Self::DeleteGroup, 2),
        (Self::ExpireDue, 2),
        (Self::ChangeScope, 2),
        (Self::ChangeSubscription, 1),
        (Self::Pause, 1),
        (Self::Resume, 3),
        (Self::Push, 4),
        (Self::Resend, 3),
        (Self::Skip, 1),
        (Self::Dismiss, 1),
        (Self::Synchronize, 3),
        (Self::Cancel, 1),
        (Self::PublishKey, 2),
        (Self::TryKey, 2),
        (Self::WithdrawKey, 1),
        (Self::RevertKey, 1),
        (Self::ReplaceKey, 1),
        (Self::RestartReceiver, 1),
        (Self::Stop, 2),
        (Self::Crash, 2),
        (Self::Freeze, 2),
    ];

    /// Whether an administrator gives something up by it, so that copies are equal only after a full
    /// synchronization.
    pub(super) fn gives_up(self) -> bool {
        matches!(
            self,
            Self::ChangeSubscription | Self::Skip | Self::Dismiss | Self::Cancel
        )
    }
}

/// Something that goes wrong by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    RequestLost,
    AnswerLost,
    Late,
    Away,
    Unavailable,
    Refused,
    Redirected,
    Garbage,
    Cut,
    Nulls,
    Twice,
    WantedAgain,
    DoneAndWantedAgain,
    Poison,
    CommitLost,
    CommitUnheard,
    CommitInDoubt,
    DatabaseBusy,
    DiskFull,
    KilledBefore,
    KilledAfter,
}

impl Kind {
    pub(super) const ALL: [Self; 21] = [
        Self::RequestLost,
        Self::AnswerLost,
        Self::Late,
        Self::Away,
        Self::Unavailable,
        Self::Refused,
        Self::Redirected,
        Self::Garbage,
        Self::Cut,
        Self::Nulls,
        Self::Twice,
        Self::WantedAgain,
        Self::DoneAndWantedAgain,
        Self::Poison,
        Self::CommitLost,
        Self::CommitUnheard,
        Self::CommitInDoubt,
        Self::DatabaseBusy,
        Self::DiskFull,
        Self::KilledBefore,
        Self::KilledAfter,
    ];

    /// What it does to a commit, if it is about commits.
    pub(super) fn of_commit(self) -> Option<Fault> {
        Some(match self {
            Self::CommitLost => Fault::Lost,
            Self::CommitUnheard => Fault::Unheard,
            Self::CommitInDoubt => Fault::UnheardForGood,
            Self::DatabaseBusy => Fault::Busy,
            Self::DiskFull => Fault::Full,
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

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// How many nodes share the database.
    pub(super) nodes: usize,
    pub(super) steps: Vec<Step>,
    pub(super) faults: BTreeSet<Kind>,
}

impl Plan {
    /// The run of a seed. In every other one two nodes deliver, and in every other pair of them administrators give
    /// up nothing, so that no full synchronization hides what was lost.
    pub(super) fn of(seed: u64) -> Self {
        let dice = Dice::new(seed);
        let rough = seed % 4 >= 2;
        let deeds = Deed::ALL
            .into_iter()
            .filter(|(deed, _)| rough || !deed.gives_up())
            .flat_map(|(deed, weight)| (0..weight).map(move |_| deed))
            .collect::<Vec<_>>();
        let bound = u64::try_from(deeds.len()).unwrap();
        let steps = (0..200)
            .map(|number| Step {
                deed: deeds[usize::try_from(dice.below(bound)).unwrap()],
                whom: dice.next(),
                what: dice.next(),
                number,
                pause: match dice.below(20) {
                    0 => dice.below(60_000),
                    1 | 2 => dice.below(5_000),
                    3..=11 => dice.below(300),
                    _ => 0,
                },
            })
            .collect();
        Self {
            seed,
            nodes: if seed.is_multiple_of(2) { 2 } else { 1 },
            steps,
            faults: Kind::ALL.into(),
        }
    }
}
