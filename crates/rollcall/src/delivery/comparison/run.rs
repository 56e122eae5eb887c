//! Running a comparison: beginning it, asking, writing down, ending.

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::{DbError, Tx};
use serde_json::json;

use super::judge::{Found, Judge, Judged, Said, bare, foreign};
use super::listing::{Asker, Pages};
use super::members::{self, Asked};
use super::model::{ComparisonError, Counts, Difference, Kind, Status, Subject};
use super::store::{self, Match};
use crate::access::Context;
use crate::application::scim::Action;
use crate::application::{ApplicationError, command::open, store as applications};
use crate::change::Seq;
use crate::clock::Millis;
use crate::delivery::job::{JobError, open_job};
use crate::delivery::ledger::{operate, standing};
use crate::delivery::route::Target;
use crate::delivery::shared::Shared;
use crate::id;

/// How often a run gives a sign of life.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How many rows of an earlier comparison one transaction removes.
const PORTION: i64 = 2_000;

/// How many foreign objects are named; all of them are counted.
const FOREIGN_NAMED: u64 = 10_000;

/// Why a run ends early.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The application does not do its part.
    Application(String),
    /// The database does not.
    Database(DbError),
    /// A synchronization has begun: much differs now that is about to be told.
    Overtaken,
    /// Nobody wants it any more.
    Unwanted,
}

impl From<DbError> for Trouble {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

/// Begins a comparison. Returns its id; it has to be run.
///
/// # Errors
/// [`ComparisonError`]; also while a synchronization is under way, since much differs then that is about to be told.
pub fn begin(tx: &mut Tx<'_>, ctx: &Context<'_>, application_id: &str) -> Result<String, ComparisonError> {
    let application = open(tx, ctx, application_id)?;
    if application.settings.scim().is_none() {
        return Err(ComparisonError::NotScim(application.name));
    }
    let before = store::newest(tx, application_id, ctx.now)?;
    if let Some(running) = before.filter(|it| it.status == Status::Running) {
        return Err(ComparisonError::Running(running.id));
    }
    if let Some(job) = open_job(tx, application_id)? {
        return Err(JobError::Busy(job.id).into());
    }
    let id = id::make("cmp", ctx.now, ctx.random);
    store::insert(tx, application_id, &id, ctx.now)?;
    operate::note(tx, ctx, &application, "compare", &json!({ "comparison": id }))?;
    Ok(id)
}

/// Begins the comparison of this id, which belongs to the synchronization that ends; whatever ran before ends. It has to
/// be run.
///
/// # Errors
/// What the database reports.
pub(in crate::delivery) fn begin_after(
    tx: &mut Tx<'_>,
    application_id: &str,
    comparison_id: &str,
    now: Millis,
) -> Result<(), DbError> {
    store::insert(tx, application_id, comparison_id, now)
}

/// Breaks off the comparison that is under way. Returns its id.
///
/// # Errors
/// [`ComparisonError::NothingToCancel`], or what the database reports.
pub fn cancel(tx: &mut Tx<'_>, ctx: &Context<'_>, application_id: &str) -> Result<String, ComparisonError> {
    let application = open(tx, ctx, application_id)?;
    let running = store::newest(tx, application_id, ctx.now)?.filter(|it| it.status == Status::Running);
    let id = running.ok_or(ComparisonError::NothingToCancel)?.id;
    store::end(tx, &id, Status::Cancelled, None, ctx.now)?;
    let what = json!({ "comparison": id });
    operate::note(tx, ctx, &application, "cancel_comparison", &what)?;
    Ok(id)
}

/// Runs a comparison to its end, whatever that is.
pub async fn run(shared: Arc<Shared>, application_id: String, comparison_id: String) {
    let compared = tokio::select! {
        biased;
        compared = compare(&shared, &application_id, &comparison_id) => compared,
        () = give_signs_of_life(&shared, &comparison_id) => Err(Trouble::Unwanted),
    };
    let (status, error) = match compared {
        Ok(()) => (Status::Done, None),
        Err(Trouble::Application(why)) => (Status::Failed, Some(why)),
        Err(Trouble::Database(error)) => (Status::Failed, Some(format!("the database: {error}"))),
        Err(Trouble::Overtaken) => {
            let why = "a synchronization began meanwhile; compare again after it";
            (Status::Cancelled, Some(why.to_owned()))
        }
        Err(Trouble::Unwanted) => return,
    };
    let (now, id) = (shared.hub.clock.now(), comparison_id.clone());
    let ended = shared
        .hub
        .db
        .write(move |tx| store::end(tx, &id, status, error.as_deref(), now));
    if let Err(error) = ended.await {
        // It counts as interrupted after a while.
        tracing::warn!(comparison = comparison_id, %error, "the end of a comparison cannot be stored");
    }
}

/// Goes on as long as the comparison is wanted.
async fn give_signs_of_life(shared: &Shared, comparison_id: &str) {
    loop {
        tokio::time::sleep(ALIVE_EVERY).await;
        let (now, id) = (shared.hub.clock.now(), comparison_id.to_owned());
        let alive = shared.hub.db.write(move |tx| store::is_alive(tx, &id, now));
        match alive.await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(comparison = comparison_id, %error, "a comparison gives no sign of life")
            }
        }
    }
}

async fn compare(shared: &Arc<Shared>, application_id: &str, comparison_id: &str) -> Result<(), Trouble> {
    let (hub, id) = (shared.hub.clone(), application_id.to_owned());
    let loaded = shared.hub.db.read(move |tx| {
        let application = applications::load(tx, &id)?;
        Ok::<_, ApplicationError>(Target::of(tx, application, &hub)?)
    });
    let target = match loaded.await {
        Ok(target) => Arc::new(target),
        Err(ApplicationError::Database(error)) => return Err(error.into()),
        Err(_) => return Err(Trouble::Unwanted),
    };
    let Some(provider) = target.provider() else {
        return Err(Trouble::Unwanted);
    };
    let mut run = Run {
        asker: Asker { shared, provider },
        target: &target,
        comparison_id,
        counts: Counts::default(),
        foreign_named: 0,
    };
    run.clear().await?;
    let by_cursor = run.asker.has_cursors().await?;
    run.compare_all(Subject::User, by_cursor).await?;
    if provider.parameters().groups {
        run.compare_all(Subject::Group, by_cursor).await?;
    }
    run.conclude().await
}

struct Run<'a> {
    asker: Asker<'a>,
    target: &'a Arc<Target>,
    comparison_id: &'a str,
    counts: Counts,
    foreign_named: u64,
}

impl Run<'_> {
    async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&mut Tx<'_>) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, Trouble> {
        Ok(self.asker.shared.hub.db.read(read).await?)
    }

    /// Writes as long as the comparison is wanted, and says something.
    async fn write<T: Send + 'static>(
        &self,
        write: impl Fn(&mut Tx<'_>, &str) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let hub = &self.asker.shared.hub;
        let (id, now) = (self.comparison_id.to_owned(), hub.clock.now());
        let application_id = self.target.application.id.clone();
        let written = hub.db.write(move |tx| {
            if !store::is_alive(tx, &id, now)? {
                return Ok(Err(Trouble::Unwanted));
            }
            if open_job(tx, &application_id)?.is_some() {
                return Ok(Err(Trouble::Overtaken));
            }
            write(tx, &id).map(Ok)
        });
        written.await?
    }

    fn judge(&self, subject: Subject) -> Judge {
        Judge {
            comparison_id: self.comparison_id.to_owned(),
            target: Arc::clone(self.target),
            subject,
        }
    }

    /// Removes what earlier comparisons have left.
    async fn clear(&self) -> Result<(), Trouble> {
        loop {
            let application_id = self.target.application.id.clone();
            let removed = self.write(move |tx, id| store::remove_earlier(tx, &application_id, id, PORTION));
            if removed.await? == 0 {
                return Ok(());
            }
        }
    }

    /// Up to which position of the log the application has been told.
    async fn position(&self) -> Result<Seq, Trouble> {
        let id = self.target.application.id.clone();
        let found = self.read(move |tx| standing(tx, &id)).await?;
        found.map(|standing| standing.position).ok_or(Trouble::Unwanted)
    }

    async fn compare_all(&mut self, subject: Subject, by_cursor: bool) -> Result<(), Trouble> {
        let begun_at = self.position().await?;
        let (endpoint, more) = match subject {
            Subject::User => ("Users", Vec::new()),
            Subject::Group => ("Groups", vec![("excludedAttributes", "members".to_owned())]),
        };
        let matched_before = self.read_matched().await?;
        let mut pages = Pages::of(self.asker, endpoint, more, by_cursor);
        loop {
            let told = self.position().await?;
            let Some(page) = pages.next().await? else { break };
            let found: Vec<Found> = page
                .into_iter()
                .filter_map(|it| Found::read(subject, it))
                .collect();
            self.counts.of(subject).there += found.len() as u64;
            let judge = self.judge(subject);
            let judged = self.read(move |tx| match judge.target.provider() {
                Some(provider) => judge.judge(tx, provider, found.clone(), told),
                None => Ok(Vec::new()),
            });
            let mut judged = judged.await?;
            if subject == Subject::Group {
                judged = self.compare_members(judged).await?;
            }
            self.store(subject, judged).await?;
        }
        self.find_missing(subject, begun_at).await?;
        let matched = self.read_matched().await? - matched_before;
        let tally = self.counts.of(subject);
        tally.foreign = tally.there.saturating_sub(matched);
        Ok(())
    }

    /// How many subjects something stands for so far. Of a comparison that was forgotten meanwhile, nobody knows.
    async fn read_matched(&self) -> Result<u64, Trouble> {
        self.write(store::matched).await
    }

    /// Compares the members of those groups of a page that both have. A group that went meanwhile stands for nobody.
    async fn compare_members(&mut self, judged: Vec<Judged>) -> Result<Vec<Judged>, Trouble> {
        let mut compared = Vec::with_capacity(judged.len());
        for mut it in judged {
            let group = it.stands_for.as_ref().map(|it| it.subject_id.clone());
            let Some(group) = group.filter(|_| it.is_wanted && !matches!(it.said, Said::UnderWay)) else {
                compared.push(it);
                continue;
            };
            match members::ask(self.asker, &it.remote_id).await? {
                Asked::Gone => continue,
                Asked::Unread => self.counts.members.unread += 1,
                Asked::Members(there) => {
                    let (comparison, application) =
                        (self.comparison_id.to_owned(), self.target.application.id.clone());
                    let of = group.clone();
                    let found =
                        self.read(move |tx| members::compare(tx, &comparison, &application, &of, &there));
                    let found = found.await?;
                    if !found.is_same() {
                        it.said = self.with_members(it.said, &group, &it.stands_for, found);
                    }
                }
            }
            compared.push(it);
        }
        Ok(compared)
    }

    fn with_members(
        &self,
        said: Said,
        group: &str,
        stands_for: &Option<Match>,
        members: members::Compared,
    ) -> Said {
        let difference = match said {
            Said::Differs(difference) => *difference,
            Said::Same | Said::UnderWay => Difference {
                subject_id: Some(group.to_owned()),
                remote_id: stands_for.as_ref().map(|it| it.remote_id.clone()),
                repairable: self.asker.provider.parameters().does(Action::Update),
                ..bare(
                    Kind::Update,
                    Subject::Group,
                    stands_for.as_ref().map(|it| it.name.clone()).unwrap_or_default(),
                )
            },
        };
        Said::Differs(Box::new(members.add_to(difference)))
    }

    /// Writes down what was found of a page. Where two objects stand for one subject, the surer one counts.
    async fn store(&mut self, subject: Subject, judged: Vec<Judged>) -> Result<(), Trouble> {
        let room = FOREIGN_NAMED.saturating_sub(self.foreign_named);
        let counts = self.counts;
        let written = self.write(move |tx, id| {
            let written = write_page(tx, id, subject, &judged, room)?;
            store::count(tx, id, &counts)?;
            Ok(written)
        });
        let Written { foreign, under_way } = written.await?;
        self.foreign_named += foreign;
        self.counts.of(subject).under_way += under_way;
        Ok(())
    }

    /// Finds those who should be there and are not.
    async fn find_missing(&mut self, subject: Subject, told: Seq) -> Result<(), Trouble> {
        let mut after: Option<String> = None;
        loop {
            let (judge, from) = (self.judge(subject), after.clone());
            let missing = self.read(move |tx| match judge.target.provider() {
                Some(provider) => judge.missing(tx, provider, from.as_deref(), told),
                None => Ok(super::judge::Missing::default()),
            });
            let missing = missing.await?;
            let tally = self.counts.of(subject);
            tally.here += missing.here;
            tally.under_way += missing.under_way;
            let (differences, counts) = (missing.differences, self.counts);
            self.write(move |tx, id| {
                store::write(tx, id, &differences)?;
                store::count(tx, id, &counts)
            })
            .await?;
            match missing.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Counts, and lets go of what is not needed any more.
    async fn conclude(&mut self) -> Result<(), Trouble> {
        let counts = self.counts;
        self.write(move |tx, id| {
            let mut counts = counts;
            store::tally(tx, id, &mut counts)?;
            for subject in [Subject::User, Subject::Group] {
                let tally = counts.of(subject);
                let others = tally.create + tally.update + tally.unmapped + tally.under_way;
                tally.same = tally.here.saturating_sub(others);
            }
            store::count(tx, id, &counts)
        })
        .await?;
        while self
            .write(|tx, id| store::remove_matches(tx, id, PORTION))
            .await?
            > 0
        {}
        Ok(())
    }
}

/// What was written down of a page.
#[derive(Debug, Default)]
struct Written {
    /// Foreign objects that were named.
    foreign: u64,
    under_way: u64,
}

fn write_page(
    tx: &mut Tx<'_>,
    id: &str,
    subject: Subject,
    judged: &[Judged],
    room: u64,
) -> Result<Written, DbError> {
    const ANOTHER: &str = "it looks like somebody for whom another one stands that is surer";
    let subjects: Vec<String> = judged
        .iter()
        .filter_map(|it| Some(it.stands_for.as_ref()?.subject_id.clone()))
        .collect();
    let mut standing = store::matches(tx, id, &subjects)?;
    let mut written = Written::default();
    let mut matches: Vec<&Match> = Vec::new();
    let mut differences: Vec<Difference> = Vec::new();
    for it in judged {
        let Some(stands_for) = &it.stands_for else {
            if let Said::Differs(difference) = &it.said {
                differences.push(Difference::clone(difference));
            }
            continue;
        };
        if let Some(other) = standing.get(&stands_for.subject_id) {
            if other.remote_id == it.remote_id {
                // Lists that change meanwhile may show an object twice.
                continue;
            }
            if other.doubt <= stands_for.doubt {
                differences.push(foreign(subject, &it.remote_id, &it.called, Some(ANOTHER)));
                continue;
            }
            store::take_back(tx, id, &stands_for.subject_id)?;
            let of_other = |it: &Difference| it.subject_id.as_ref() == Some(&stands_for.subject_id);
            differences.retain(|it| !of_other(it));
            matches.retain(|it| it.subject_id != stands_for.subject_id);
            differences.push(foreign(subject, &other.remote_id, &other.name, Some(ANOTHER)));
        }
        standing.insert(stands_for.subject_id.clone(), stands_for.clone());
        matches.push(stands_for);
        match &it.said {
            Said::Same => {}
            Said::UnderWay => written.under_way += u64::from(it.is_wanted),
            Said::Differs(difference) => differences.push(Difference::clone(difference)),
        }
    }
    store::write_matches(tx, id, &matches)?;
    differences.retain(|it| {
        let is_foreign = it.kind == Kind::Foreign;
        written.foreign += u64::from(is_foreign);
        !is_foreign || written.foreign <= room
    });
    store::write(tx, id, &differences)?;
    Ok(written)
}
