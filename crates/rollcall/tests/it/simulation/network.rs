//! The network, with the applications behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use reqwest::Url;
use rollcall::clock::Clock;
use rollcall::delivery::egress::failure::Failure;
use rollcall::delivery::egress::{Peer, Reply};
use rollcall_db::testing::Faults;
use rollcall_protocol::{Event, EventType};
use rollcall_receiver::testing::{Act, Forgetful};
use rollcall_receiver::{Mirror, Outcome, Process, ProcessError, Receiver};

use super::chance::Dice;
use super::plan::Kind;

/// Where the simulated time begins.
pub(super) const START: i64 = 1_800_000_000_000;

/// What happened, when, and how often.
pub(super) struct History {
    now: AtomicI64,
    lines: Mutex<String>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            now: AtomicI64::new(START),
            lines: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// The latest time that anybody's clock has shown.
    pub(super) fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    pub(super) fn passed(&self, now: i64) {
        self.now.fetch_max(now, Ordering::Relaxed);
    }

    pub(super) fn note(&self, line: std::fmt::Arguments<'_>) {
        let at = self.now() - START;
        writeln!(self.lines.lock().unwrap(), "{at:>9} {line}").unwrap();
    }

    pub(super) fn count(&self, what: impl std::fmt::Debug) {
        *self
            .counts
            .lock()
            .unwrap()
            .entry(format!("{what:?}"))
            .or_default() += 1;
    }

    pub(super) fn lines(&self) -> String {
        self.lines.lock().unwrap().clone()
    }

    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap().clone()
    }
}

/// A receiver, with what it keeps.
pub(super) enum Copy {
    Mirror(Receiver<Heard<Mirror>>),
    Forgetful(Receiver<Heard<Forgetful>>),
}

/// Whoever processes events, with the history in which they are told.
pub(super) struct Heard<P> {
    pub(super) name: String,
    pub(super) history: Arc<History>,
    pub(super) processor: P,
}

impl<P: Process> Process for Heard<P> {
    async fn process(&self, events: Vec<Event>, now: i64) -> Result<Vec<Outcome>, ProcessError> {
        for event in &events {
            let Event {
                event_id,
                event_type,
                event_time,
                biz_id,
                ..
            } = event;
            let (name, at) = (&self.name, event_time - START);
            let kind = event_type.rsplit_once("app:event:").map_or("?", |(_, kind)| kind);
            self.history.note(format_args!(
                "  {name} gets {event_id}: {kind} of {biz_id} at {at}"
            ));
        }
        self.processor.process(events, now).await
    }
}

/// What becomes of a request in a scenario.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trick {
    /// It arrives, and its answer is lost.
    AnswerLost,
    /// The answer is cut.
    AnswerCut,
    /// Null stands in the answer for what the application says.
    NullSaid,
    /// The answer speaks of no event.
    NothingSaid,
}

/// What an application does with an event in a scenario.
type Script = Box<dyn FnMut(&str, &Event) -> Option<Act> + Send>;

/// What becomes of the requests to an application in a scenario.
type Tricks = Box<dyn FnMut(&str) -> Option<Trick> + Send>;

pub(super) struct Network {
    script: Mutex<Option<Script>>,
    tricks: Mutex<Option<Tricks>>,
    pub(super) dice: Dice,
    pub(super) history: Arc<History>,
    faults: BTreeSet<Kind>,
    /// Whether nothing goes wrong any more.
    well: Mutex<bool>,
    copies: Mutex<BTreeMap<String, Arc<Copy>>>,
    /// Until when an application is away.
    away: Mutex<BTreeMap<String, i64>>,
}

impl Network {
    pub(super) fn new(dice: Dice, history: Arc<History>, faults: BTreeSet<Kind>) -> Self {
        Self {
            script: Mutex::default(),
            tricks: Mutex::default(),
            dice,
            history,
            faults,
            well: Mutex::new(false),
            copies: Mutex::default(),
            away: Mutex::default(),
        }
    }

    pub(super) fn is_well(&self) -> bool {
        *self.well.lock().unwrap()
    }

    pub(super) fn get_well(&self) {
        *self.well.lock().unwrap() = true;
    }

    /// From now on an application does this with an event, if it is something.
    pub(super) fn script(&self, script: impl FnMut(&str, &Event) -> Option<Act> + Send + 'static) {
        *self.script.lock().unwrap() = Some(Box::new(script));
    }

    /// From now on this becomes of the requests to an application, if it is something.
    pub(super) fn trick(&self, tricks: impl FnMut(&str) -> Option<Trick> + Send + 'static) {
        *self.tricks.lock().unwrap() = Some(Box::new(tricks));
    }

    pub(super) fn connect(&self, name: &str, copy: Copy) {
        self.copies
            .lock()
            .unwrap()
            .insert(name.to_owned(), Arc::new(copy));
    }

    pub(super) fn copy(&self, name: &str) -> Option<Arc<Copy>> {
        self.copies.lock().unwrap().get(name).cloned()
    }

    /// Whether this goes wrong; it is counted then.
    fn strikes(&self, kind: Kind) -> bool {
        let strikes = !self.is_well() && self.faults.contains(&kind);
        if strikes {
            self.history.count(kind);
        }
        strikes
    }

    /// What a moody application does with an event.
    pub(super) fn mood(&self, name: &str, event: &Event) -> Act {
        if event.kind() == Some(EventType::Test) {
            return Act::Apply;
        }
        let mut script = self.script.lock().unwrap();
        let scripted = script.as_mut().and_then(|script| script(name, event));
        if let Some(act) = scripted.filter(|_| !self.is_well()) {
            return act;
        }
        let again = || Outcome::Retry {
            code: "exception".to_owned(),
            message: "busy".to_owned(),
        };
        match self.dice.below(48) {
            0 | 1 if self.strikes(Kind::WantedAgain) => Act::Answer(again()),
            2 | 3 if self.strikes(Kind::DoneAndWantedAgain) => Act::ApplyAndAnswer(again()),
            4 if self.strikes(Kind::Poison) => Act::Answer(Outcome::Failed {
                code: "poison".to_owned(),
                message: "cannot be stored".to_owned(),
            }),
            _ => Act::Apply,
        }
    }

    async fn answer(&self, copy: &Copy, body: &[u8]) -> Result<Reply, Failure> {
        let reply = match copy {
            Copy::Mirror(receiver) => receiver.receive(None, body).await,
            Copy::Forgetful(receiver) => receiver.receive(None, body).await,
        };
        Ok(whole(reply.status, reply.body.into_bytes()))
    }

    /// Answers something else, unless that would hide that the application has refused something.
    async fn instead(&self, copy: &Copy, body: &[u8], said: &str) -> Result<Reply, Failure> {
        let reply = self.answer(copy, body).await?;
        let text = String::from_utf8_lossy(&reply.body);
        let took_all = ["\"failedEvents\":[]", "\"retriedEvents\":[]"]
            .iter()
            .all(|list| text.contains(list));
        if reply.status == 200 && took_all {
            return Ok(whole(200, said.as_bytes().to_vec()));
        }
        Ok(reply)
    }

    async fn carry(&self, name: &str, body: &[u8]) -> Result<Reply, Failure> {
        let Some(copy) = self.copy(name) else {
            return Err(Failure::Connect("nobody is there".to_owned()));
        };
        if self.is_well() {
            return self.answer(&copy, body).await;
        }
        let trick = self
            .tricks
            .lock()
            .unwrap()
            .as_mut()
            .and_then(|tricks| tricks(name));
        match trick {
            Some(Trick::AnswerLost) => {
                self.answer(&copy, body).await?;
                return Err(Failure::Broken("lost on the way back".to_owned()));
            }
            Some(Trick::AnswerCut) => return Ok(cut(self.answer(&copy, body).await?)),
            Some(Trick::NullSaid) => {
                let mut reply = self.answer(&copy, body).await?;
                let text = String::from_utf8_lossy(&reply.body).replace("\"busy\"", "null");
                reply.body = text.into_bytes();
                return Ok(reply);
            }
            Some(Trick::NothingSaid) => return self.instead(&copy, body, "{\"successEvents\":null}").await,
            None => {}
        }
        let now = self.history.now();
        if self
            .away
            .lock()
            .unwrap()
            .get(name)
            .is_some_and(|until| now < *until)
        {
            return Err(Failure::Connect("away".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(self.dice.below(50))).await;
        match self.dice.below(48) {
            0 | 1 if self.strikes(Kind::RequestLost) => {
                Err(Failure::Connect("lost on the way there".to_owned()))
            }
            2 | 3 if self.strikes(Kind::AnswerLost) => {
                self.answer(&copy, body).await?;
                Err(Failure::Broken("lost on the way back".to_owned()))
            }
            4 | 5 if self.strikes(Kind::Late) => {
                let reply = self.answer(&copy, body).await;
                tokio::time::sleep(Duration::from_secs(self.dice.below(30))).await;
                reply
            }
            6 if self.strikes(Kind::Unavailable) => Ok(whole(503, b"not now".to_vec())),
            7 if self.strikes(Kind::Refused) => Ok(whole(400, b"not now".to_vec())),
            8 if self.strikes(Kind::Redirected) => Ok(Reply {
                location: Some("http://elsewhere/".to_owned()),
                ..whole(302, Vec::new())
            }),
            9 if self.strikes(Kind::Garbage) => self.instead(&copy, body, "<html>thank you</html>").await,
            10 if self.strikes(Kind::Cut) => Ok(cut(self.answer(&copy, body).await?)),
            11 if self.strikes(Kind::Nulls) => {
                let lists = "{\"successEvents\":null,\"failedEvents\":null,\"retriedEvents\":null}";
                self.instead(&copy, body, lists).await
            }
            12 if self.strikes(Kind::Twice) => {
                self.answer(&copy, body).await?;
                self.answer(&copy, body).await
            }
            13 if self.strikes(Kind::Away) => {
                let until = now + i64::try_from(self.dice.below(1_200_000)).unwrap();
                self.away.lock().unwrap().insert(name.to_owned(), until);
                Err(Failure::Connect("away from now on".to_owned()))
            }
            _ => self.answer(&copy, body).await,
        }
    }
}

fn cut(mut reply: Reply) -> Reply {
    reply.body.truncate(reply.body.len() / 2);
    reply.complete = false;
    reply
}

fn whole(status: u16, body: Vec<u8>) -> Reply {
    Reply {
        status,
        body,
        complete: true,
        retry_after: None,
        location: None,
    }
}

/// What connects one node, as long as that lives, with the network.
pub(super) struct Cable {
    pub(super) network: Arc<Network>,
    pub(super) node: &'static str,
    pub(super) clock: Clock,
    pub(super) faults: Faults,
}

impl Peer for Cable {
    fn post<'a>(
        &'a self,
        url: &'a Url,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if self.faults.killed() {
                return Err(Failure::Connect("the node is dead".to_owned()));
            }
            let history = &self.network.history;
            history.passed(self.clock.now());
            let name = url.host_str().unwrap();
            let result = self.network.carry(name, &body).await;
            history.passed(self.clock.now());
            let told = match &result {
                // Of an answer to many events the beginning is enough.
                Ok(reply) => format!("{} {:.600}", reply.status, String::from_utf8_lossy(&reply.body)),
                Err(failure) => failure.code().to_owned(),
            };
            history.note(format_args!("{} to {name}: {told}", self.node));
            result
        })
    }
}
