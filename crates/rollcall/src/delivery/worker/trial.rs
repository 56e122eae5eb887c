//! When a worker holds the trial of a new signing key: between two rounds, so that nothing is in flight that was
//! signed with another key than the next round.

use std::time::Duration;

use tokio::time::Instant;

use super::Worker;
use crate::application::keys::rotation;
use crate::clock::Millis;
use crate::delivery::ledger::Settlement;
use crate::delivery::route::Target;
use crate::delivery::send::Interrupt;

/// When a trial is held.
#[derive(Clone, Copy)]
pub(super) struct Planned {
    pub(super) at: Instant,
    /// Whether that is before the key has been published for as long as was meant.
    early: bool,
}

impl Planned {
    /// Has it held now.
    pub(super) fn hurry(self) -> Self {
        let now = Instant::now();
        match self.at > now {
            true => Self { at: now, early: true },
            false => self,
        }
    }
}

/// When the trial of the key that waits is due, if one does. A stored time may have been written by a clock that
/// ran ahead: nobody waits longer than was meant.
pub(super) fn due(target: &Target, now: Millis, at: Instant, longest_pause: Duration) -> Option<Planned> {
    let candidate = target.candidate()?;
    let meant = u64::try_from(candidate.trial.due_at - candidate.created_at).unwrap_or(0);
    let meant = match candidate.trial.tries {
        0 => Duration::from_millis(meant),
        // With its random part, and no shorter than the time for which the key has to be published.
        _ => (longest_pause * 2).max(Duration::from_millis(meant)),
    };
    let wait = u64::try_from(candidate.trial.due_at - now).unwrap_or(0);
    Some(Planned {
        at: at + Duration::from_millis(wait).min(meant),
        early: false,
    })
}

impl Worker {
    /// Holds the trial of a new key if it is due. Whatever comes of it, the application is loaded again after it.
    pub(super) async fn hold_trial(&mut self) -> Result<(), Interrupt> {
        let Some(planned) = self.trial.filter(|planned| planned.at <= Instant::now()) else {
            return Ok(());
        };
        let Some(candidate) = self.target().candidate().cloned() else {
            return Ok(());
        };
        self.flush().await?;
        let (verdict, attempts) = self.sender.hold_trial(&candidate, planned.early).await?;
        self.commit(Settlement {
            attempts,
            trial: Some(rotation::Held {
                kid: candidate.key.kid().to_owned(),
                before: candidate.trial,
                verdict,
            }),
            ..Settlement::default()
        })
        .await?;
        self.flush().await?;
        Err(Interrupt::Changed)
    }
}
