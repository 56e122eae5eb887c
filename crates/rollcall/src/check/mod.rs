//! `rollcall check`: a sender that tests anybody's receiving endpoint.
//!
//! [`cases`] is the table: what an endpoint has to do, where that stands, what is expected, and what to do if it fails. A
//! case runs on a `Course`, which seals and sends, judges answers as the hub reads them, and remembers all users, units and
//! groups that it makes, so that they can be deleted at the end. What is stored is looked at through a [`ReadBack`]; without
//! one, the cases that need it are told as *not checked*, and never as passed.
//!
//! The cases run one after the other, in the order of the table, and each makes what it needs: any of them can run alone.

mod case;
mod cases;
mod course;
mod page;
mod read_back;
mod report;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

pub use case::{Case, Group, Level};
pub use cases::all as cases;
pub use course::Exchange;
pub use page::{html, junit};
pub use read_back::ReadBack;
pub use report::{Cleaned, Counts, Outcome, Report, Verdict};

use case::Fault;
use course::Course;

use crate::clock::Millis;
use crate::private;
use crate::sender::jwks::Published;
use crate::sender::{Post, Samples, Sender, Unanswered, answer};

/// What every id and username that a run makes begins with.
pub const PREFIX: &str = "check";

/// How often an endpoint that does not answer yet is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What to check, and how.
pub struct Options {
    /// Who sends.
    pub sender: Sender,
    /// To where.
    pub post: Post,
    /// The keys that the endpoint finds.
    pub published: Published,
    /// Why a new key cannot be tried, if it cannot.
    pub pinned: Option<&'static str>,
    /// Where what is stored is looked at.
    pub read_back: Option<ReadBack>,
    /// How long it may take until what was answered is stored.
    pub settle: Duration,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

/// Waits until the endpoint takes the connection test. `told` hears each time why it does not, if that is another reason
/// than the time before.
pub async fn wait(sender: &Sender, post: &Post, mut told: impl FnMut(&str)) {
    let mut before = String::new();
    loop {
        let Err(why) = probe(sender, post).await else {
            return;
        };
        if why != before {
            told(&why);
            before = why;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Sends one connection test; why it is not taken, if it is not.
async fn probe(sender: &Sender, post: &Post) -> Result<(), String> {
    let now = sender.clock.now();
    let event = sender.event(rollcall_protocol::EventType::Test, now, &sender.instance_id, "{}");
    let body = sender
        .seal(std::slice::from_ref(&event))
        .map_err(|error| error.to_string())?;
    let received = post.post(body).await.map_err(|error| error.to_string())?;
    answer::read(&received, &[&event.event_id]).map(drop)
}

/// Whether anybody listens at the address; why not, if nobody does.
///
/// # Errors
/// What became of the connection.
pub async fn reach(sender: &Sender, post: &Post) -> Result<(), Unanswered> {
    let body = sender.seal(&[]).unwrap_or_default();
    match post.post(body).await {
        Err(error) if error.is_unreachable() => Err(error),
        _ => Ok(()),
    }
}

/// Runs cases until all are done, or `stop` ends: then those that are left are told as not checked. Deletes what was made
/// in both cases. `told` hears of each case when it is done.
pub async fn run(
    options: Options,
    cases: &[Case],
    stop: impl Future<Output = ()>,
    mut told: impl FnMut(&Outcome),
) -> Report {
    let sender = options.sender;
    let clock = sender.clock.clone();
    let started_at = clock.now();
    let run = run_id(&sender);
    let samples = Samples::new(format!("{PREFIX}_{run}"), sender.instance_id.clone());
    let mut report = Report {
        url: options.post.url().to_string(),
        run: run.clone(),
        started_at,
        ended_at: started_at,
        application_id: sender.application_id.clone(),
        instance_id: sender.instance_id.clone(),
        encrypted: sender.encryption.is_some(),
        read_back: options.read_back.is_some(),
        interrupted: false,
        counts: Counts::default(),
        cases: Vec::new(),
        cleaned: Cleaned::default(),
    };
    let mut course = Course::new(sender, options.post, samples, options.published);
    course.pinned = options.pinned;
    course.read_back = options.read_back;
    course.settle = options.settle;
    let mut stop = pin!(stop);
    // The unit that all users stand in comes first, as a hub would send it. Whether it is taken, cases tell.
    let home = course.home.clone();
    let home = [course.unit_event(rollcall_protocol::EventType::UnitCreate, &home)];
    let mut is_stopped = tokio::select! {
        biased;
        () = &mut stop => true,
        _ = course.deliver(&home) => false,
    };
    let signing = Arc::clone(&course.sender.signing);
    for case in cases {
        course.exchanges.clear();
        let stopwatch = clock.stopwatch();
        let found = if is_stopped {
            Err(Fault::NotChecked(INTERRUPTED.to_owned()))
        } else {
            let ended = tokio::select! {
                biased;
                () = &mut stop => None,
                found = (case.run)(&mut course) => Some(found),
            };
            is_stopped = ended.is_none();
            // A case that was stopped may have left another key behind, under which nothing would be deleted.
            course.sender.signing = Arc::clone(&signing);
            ended.unwrap_or_else(|| Err(Fault::NotChecked(INTERRUPTED.to_owned())))
        };
        let (verdict, found) = match found {
            Ok(()) => (Verdict::Passed, None),
            Err(Fault::Failed(what)) => (Verdict::Failed, Some(what)),
            Err(Fault::NotChecked(why)) => (Verdict::NotChecked, Some(why)),
        };
        let outcome = Outcome {
            id: case.id.to_string(),
            group: case.group,
            level: case.level,
            verdict,
            found,
            requirement: case.requirement.to_string(),
            source: case.source.to_owned(),
            expected: case.expected.to_owned(),
            advice: case.advice.to_owned(),
            milliseconds: u64::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX),
            exchanges: std::mem::take(&mut course.exchanges),
        };
        told(&outcome);
        report.cases.push(outcome);
    }
    let (made, left) = course.clean_up().await;
    report.cleaned = Cleaned { made, left };
    report.interrupted = is_stopped;
    report.ended_at = clock.now();
    report.counts = Counts::of(&report.cases);
    report
}

const INTERRUPTED: &str = "the check was interrupted";

/// Eight digits by which the users of a run are told from those of others.
fn run_id(sender: &Sender) -> String {
    let mut bytes = [0; 4];
    sender.random.fill(&mut bytes);
    private::to_hex(&bytes).to_string()
}

/// How long ago something was, or how long it took, for people.
pub(super) fn seconds(from: Millis, to: Millis) -> String {
    let tenths = to.saturating_sub(from).max(0) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}
