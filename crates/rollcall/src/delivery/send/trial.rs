//! The trial of a new signing key: does the application accept what is signed with it?
//!
//! A connection test under the new key is refused by an application that keeps the public keys that it fetched
//! long ago; but an application that is out of order refuses it as well. A test under the key that signs tells the
//! two apart. What failed by chance is told from a refusal by asking a second time.

use super::{Asked, Interrupt, Sender};
use crate::application::keys::Candidate;
use crate::application::keys::rotation::{Setback, Trial, Verdict};
use crate::clock::{Millis, millis};
use crate::delivery::model::{Attempt, Source};
use crate::delivery::plan::grown;

/// What a trial told.
enum Told {
    /// The application takes events under the new key.
    Accepted,
    /// It takes them under the old one alone.
    Refused(String),
    /// It takes them under neither.
    Unclear(String),
    /// It takes them under both, but the key has not been published for long enough: what was asked may be only
    /// one of several instances.
    TooEarly,
}

impl Sender {
    /// Holds the trial of a key, before the key has been published for long enough if that is `early`. Returns what
    /// it brought, and the requests that were sent.
    pub(in crate::delivery) async fn hold_trial(
        &self,
        candidate: &Candidate,
        early: bool,
    ) -> Result<(Verdict, Vec<Attempt>), Interrupt> {
        let now = self.shared.hub.clock.now();
        let mut attempts = Vec::new();
        let told = self.ask_both(early, &mut attempts).await?;
        let (application, kid) = (self.target.application.id.as_str(), candidate.key.kid());
        let setback = match told {
            Told::Accepted => {
                tracing::info!(
                    application,
                    kid,
                    "the application accepts the new key, which signs from now on"
                );
                return Ok((Verdict::Accepted, attempts));
            }
            Told::TooEarly => return Ok((Verdict::PutOff(candidate.trial.clone()), attempts)),
            Told::Refused(reason) => {
                tracing::warn!(
                    application,
                    kid,
                    "the endpoint refuses the new key: restart the application or update its pinned keys; the old key goes on signing"
                );
                let since = match candidate.trial.setback {
                    Some(Setback::Refused { since, .. }) => since,
                    Some(Setback::Unclear { .. }) | None => now,
                };
                Setback::Refused { since, reason }
            }
            Told::Unclear(reason) => {
                tracing::info!(
                    application,
                    kid,
                    "the new key cannot be tried now; the old one goes on signing"
                );
                Setback::Unclear { reason }
            }
        };
        Ok((
            Verdict::PutOff(self.put_off(&candidate.trial, setback, now, early)),
            attempts,
        ))
    }

    fn put_off(&self, trial: &Trial, setback: Setback, now: Millis, early: bool) -> Trial {
        let options = &self.shared.options;
        let pause = self.shared.jitter(grown(
            options.first_trial_pause,
            trial.tries,
            options.longest_trial_pause,
        ));
        Trial {
            due_at: match early {
                // The time for which it has to be published is not cut short.
                true => trial.due_at.max(now + millis(pause)),
                false => now + millis(pause),
            },
            tries: trial.tries.saturating_add(1),
            setback: Some(setback),
        }
    }

    async fn ask_both(&self, early: bool, attempts: &mut Vec<Attempt>) -> Result<Told, Interrupt> {
        let mut ask = async |source| {
            let (asked, attempt) = self.ask(source).await?;
            attempts.extend(attempt);
            Ok::<_, Interrupt>(asked)
        };
        let first = ask(Source::KeyTrial).await?;
        match first {
            Asked::Taken if !early => return Ok(Told::Accepted),
            Asked::Unreached(reason) => return Ok(Told::Unclear(reason)),
            Asked::Taken | Asked::Refused(_) => {}
        }
        let takes_the_old = ask(Source::Test).await?;
        Ok(match (first, takes_the_old) {
            (Asked::Taken, Asked::Refused(_)) => Told::Accepted,
            (Asked::Taken, _) => Told::TooEarly,
            (Asked::Refused(_), Asked::Taken) => match ask(Source::KeyTrial).await? {
                Asked::Taken if early => Told::TooEarly,
                Asked::Taken => Told::Accepted,
                Asked::Refused(reason) => Told::Refused(reason),
                Asked::Unreached(reason) => Told::Unclear(reason),
            },
            (_, Asked::Refused(reason) | Asked::Unreached(reason)) => Told::Unclear(reason),
            (Asked::Unreached(reason), Asked::Taken) => Told::Unclear(reason),
        })
    }
}
