//! What becomes of the events of a request that was opened.

use rollcall_protocol::Event;
use rollcall_receiver::{Mirror, Outcome, Process, ProcessError};

use super::play::Play;
use super::record::{explained, is_known};

/// What becomes of events: the script's answer, the mirror's, or a success for what can be read.
pub(super) struct Processor {
    pub(super) mirror: Option<Mirror>,
    pub(super) play: Play,
}

impl Process for Processor {
    async fn process(&self, events: Vec<Event>, now: i64) -> Result<Vec<Outcome>, ProcessError> {
        let scripted: Vec<Option<Outcome>> = events.iter().map(|event| self.play.outcome(event)).collect();
        let taken: Vec<Event> = events
            .into_iter()
            .zip(&scripted)
            .filter(|(_, scripted)| scripted.is_none())
            .map(|(event, _)| event)
            .collect();
        let outcomes = match &self.mirror {
            Some(mirror) => mirror.process(taken, now).await?,
            None => taken.iter().map(read).collect(),
        };
        let mut outcomes = outcomes.into_iter();
        let merged = scripted.into_iter().map(|scripted| {
            scripted
                .or_else(|| outcomes.next())
                .unwrap_or_else(|| Outcome::exception("nothing is known of this event"))
        });
        Ok(merged.collect())
    }
}

/// What a receiver without a table answers.
fn read(event: &Event) -> Outcome {
    match is_known(event) {
        Ok(true) => Outcome::success(),
        Ok(false) => Outcome::Skipped(String::new()),
        Err(error) => Outcome::Failed {
            code: "malformed_data".to_owned(),
            message: explained(&error),
        },
    }
}
