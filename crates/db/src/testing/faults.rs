//! Things that go wrong with commits, on purpose.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::tx::{Begun, Connection, Scrub};
use crate::writer::GROUP;
use crate::{DbError, Dialect, Lane, Row, Value};

/// What happens to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is lost before the commit, which is then tried again. Nobody notices.
    Lost,
    /// The commit goes through, and the connection is lost before its answer. The writer finds out; nobody
    /// notices.
    Unheard,
    /// The commit goes through, and the database stays away, so that the caller is told
    /// [`DbError::Unavailable`] of work that is done. It lasts as long as the writer's patience
    /// ([`Options::unavailable_after`](crate::Options::unavailable_after)).
    UnheardForGood,
    /// The database is locked for longer than the writer's patience: [`DbError::Unavailable`], nothing done.
    Busy,
    /// There is no room: [`DbError::Full`], nothing done.
    Full,
    /// A page is corrupt: [`DbError::Damaged`], nothing done.
    Damaged,
    /// The commit takes this much longer. Inline, where the thread must not be held up, its answer comes so much
    /// later by the clock of the asynchronous runtime.
    Slow(Duration),
    /// The commit waits for so long in the queue of its lane, and so do those of the lane that come meanwhile. Inline this
    /// happens to settlements, which others then overtake. With threads it does not happen by chance, and where it is
    /// planned it is the same as [`Self::Slow`].
    Queued(Duration),
    /// The commit goes through, and nobody who waits for [announcements](crate::Db::announcements) is woken, neither
    /// here nor in another process.
    Unannounced,
    /// The process is killed before the commit, so that nothing is done. See [`Faults::killed`].
    KilledBefore,
    /// The process is killed after the commit, which nobody hears of. See [`Faults::killed`].
    KilledAfter,
}

/// Lets commits fail. Clones share what is planned; the default plans nothing.
///
/// ```
/// use rollcall_db::testing::{Fault, Faults};
/// use rollcall_db::{Lane, Options};
///
/// let faults = Faults::default();
/// let options = Options { faults: faults.one_by_one(), ..Options::default() };
/// // Db::open(…, options), and then:
/// faults.next(Lane::Settlement, [Fault::Full]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
    one_by_one: bool,
    inline: bool,
}

#[derive(Debug, Default)]
struct Plan {
    log: VecDeque<Option<Fault>>,
    settlement: VecDeque<Option<Fault>>,
    random: Option<Random>,
    happened: Vec<Fault>,
    killed: bool,
}

#[derive(Debug)]
struct Random {
    state: u64,
    one_in: u64,
    kinds: Vec<Fault>,
    /// For how long settlements wait, if that is one of the faults.
    queued: Option<Duration>,
}

impl Faults {
    /// Commits each closure on its own, so that a fault meets one closure.
    #[must_use]
    pub fn one_by_one(&self) -> Self {
        Self {
            one_by_one: true,
            ..self.clone()
        }
    }

    /// What happens to the next commits of a lane, behind what is planned for it already. `None` lets one
    /// through. On SQLite, and inline, all commits are of the log lane, but for [`Fault::Queued`] inline.
    pub fn next(&self, lane: Lane, faults: impl IntoIterator<Item = impl Into<Option<Fault>>>) {
        let mut plan = self.plan();
        plan.of(lane).extend(faults.into_iter().map(Into::into));
    }

    /// Lets one commit in `one_in` meet one of these faults, by chance that a seed fixes, where nothing else is
    /// planned. None does if `kinds` is empty.
    pub fn at_random(&self, seed: u64, one_in: u64, kinds: &[Fault]) {
        let mut kinds = kinds.to_vec();
        let mut queued = None;
        kinds.retain(|kind| match kind {
            Fault::Queued(pause) => {
                queued = Some(*pause);
                false
            }
            _ => true,
        });
        self.plan().random = (!kinds.is_empty() || queued.is_some()).then(|| Random {
            state: seed,
            one_in: one_in.max(1),
            kinds,
            queued,
        });
    }

    /// How many faults are planned that have not happened yet.
    pub fn pending(&self) -> usize {
        let plan = self.plan();
        plan.log.iter().chain(&plan.settlement).flatten().count()
    }

    /// What has happened so far, in that order.
    pub fn happened(&self) -> Vec<Fault> {
        self.plan().happened.clone()
    }

    /// Whether a commit met [`Fault::KilledBefore`] or [`Fault::KilledAfter`]. Every closure that comes later gets
    /// [`DbError::Closed`]: whoever simulates the process lets it do nothing any more, and opens the database again
    /// with other faults.
    pub fn killed(&self) -> bool {
        self.plan().killed
    }

    /// For a database whose work is done by whoever asks.
    pub(crate) fn inline(&self) -> Self {
        Self {
            inline: true,
            ..self.clone()
        }
    }

    pub(crate) fn around(&self, lane: Lane, connection: Box<dyn Connection>) -> Box<dyn Connection> {
        Box::new(Faulty {
            connection,
            lane,
            faults: self.clone(),
            away: None,
            unheard: false,
            silent: false,
            late: None,
        })
    }

    pub(crate) fn group(&self) -> usize {
        if self.one_by_one { 1 } else { GROUP }
    }

    /// For how long the next settlement waits, inline, if it does.
    pub(crate) fn queued(&self) -> Option<Duration> {
        let mut plan = self.plan();
        let pause = match plan.settlement.pop_front() {
            Some(Some(Fault::Queued(pause))) => Some(pause),
            Some(_) => None,
            None => plan.random.as_mut().and_then(Random::queued),
        }?;
        plan.happened.push(Fault::Queued(pause));
        Some(pause)
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn of(&mut self, lane: Lane) -> &mut VecDeque<Option<Fault>> {
        match lane {
            Lane::Log => &mut self.log,
            Lane::Settlement => &mut self.settlement,
        }
    }

    fn take(&mut self, lane: Lane) -> Option<Fault> {
        let fault = match self.of(lane).pop_front() {
            Some(planned) => planned,
            None => self.random.as_mut().and_then(Random::fault),
        }?;
        self.happened.push(fault);
        self.killed |= matches!(fault, Fault::KilledBefore | Fault::KilledAfter);
        Some(fault)
    }
}

impl Random {
    fn fault(&mut self) -> Option<Fault> {
        (!self.kinds.is_empty() && self.draw(self.one_in) == 0).then(|| {
            let count = u64::try_from(self.kinds.len()).unwrap_or(1);
            let index = usize::try_from(self.draw(count)).unwrap_or(0);
            self.kinds[index]
        })
    }

    fn queued(&mut self) -> Option<Duration> {
        self.queued.filter(|_| self.draw(self.one_in) == 0)
    }

    /// A number below a bound, by SplitMix64.
    fn draw(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.state;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) % bound
    }
}

/// A connection that meets faults.
struct Faulty {
    connection: Box<dyn Connection>,
    lane: Lane,
    faults: Faults,
    /// The database stays away until the writer gives up.
    away: Option<&'static str>,
    /// The last commit went through, which the writer does not know.
    unheard: bool,
    /// The last commit is not announced.
    silent: bool,
    /// How much later the answer to the last commit comes.
    late: Option<Duration>,
}

const LOST: &str = "a fault: the connection was lost";
const BUSY: &str = "a fault: the database is locked";
const IN_DOUBT: &str = "a fault: the connection was lost during a commit, which may have been applied";

impl Faulty {
    fn must_live(&self) -> Result<(), DbError> {
        if self.faults.killed() {
            Err(DbError::Closed)
        } else {
            Ok(())
        }
    }
}

impl Connection for Faulty {
    fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    fn begin_write(&mut self) -> Result<Begun, DbError> {
        self.must_live()?;
        if let Some(why) = self.away {
            return Err(DbError::away(why));
        }
        if std::mem::take(&mut self.unheard) {
            return Ok(Begun::AlreadyCommitted);
        }
        self.connection.begin_write()
    }

    fn begin_read(&mut self) -> Result<(), DbError> {
        self.must_live()?;
        self.connection.begin_read()
    }

    fn savepoint(&mut self) -> Result<(), DbError> {
        self.connection.savepoint()
    }

    fn release(&mut self) -> Result<(), DbError> {
        self.connection.release()
    }

    fn undo(&mut self) -> Result<(), DbError> {
        self.connection.undo()
    }

    fn commit(&mut self, announce: bool) -> Result<(), DbError> {
        let fault = self.faults.plan().take(self.lane);
        self.silent = fault == Some(Fault::Unannounced);
        match fault {
            None => return self.connection.commit(announce),
            Some(Fault::Unannounced) => return self.connection.commit(false),
            Some(Fault::Slow(pause) | Fault::Queued(pause)) => {
                if self.faults.inline {
                    self.late = Some(pause);
                } else {
                    std::thread::sleep(pause);
                }
                return self.connection.commit(announce);
            }
            Some(Fault::Unheard | Fault::UnheardForGood) => {
                self.connection.commit(announce)?;
                self.unheard = fault == Some(Fault::Unheard);
                self.away = (!self.unheard).then_some(IN_DOUBT);
                return Err(DbError::away(IN_DOUBT));
            }
            Some(Fault::KilledAfter) => {
                self.connection.commit(announce)?;
                return Err(DbError::Closed);
            }
            Some(Fault::Lost | Fault::Busy | Fault::Full | Fault::Damaged | Fault::KilledBefore) => {}
        }
        self.connection.abandon();
        let (code, message) = (None, "a fault".to_owned());
        Err(match fault {
            Some(Fault::KilledBefore) => DbError::Closed,
            Some(Fault::Full) => DbError::Full { code, message },
            Some(Fault::Damaged) => DbError::Damaged { code, message },
            Some(Fault::Busy) => {
                self.away = Some(BUSY);
                DbError::away(BUSY)
            }
            _ => DbError::away(LOST),
        })
    }

    fn announces(&self) -> bool {
        !self.silent
    }

    fn late(&mut self) -> Option<Duration> {
        self.late.take()
    }

    fn abandon(&mut self) {
        self.away = None;
        self.unheard = false;
        self.connection.abandon();
    }

    fn flush(&mut self) -> Result<(), DbError> {
        self.connection.flush()
    }

    fn failure(&self) -> Option<DbError> {
        self.connection.failure()
    }

    fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        self.connection.execute(sql, params)
    }

    fn execute_later(&mut self, sql: &str, params: &[Value<'_>]) -> Result<(), DbError> {
        self.connection.execute_later(sql, params)
    }

    fn query(&mut self, sql: &str, params: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
        self.connection.query(sql, params)
    }

    fn steps(&mut self) -> u64 {
        self.connection.steps()
    }

    fn touch(&mut self) -> Result<(), DbError> {
        self.connection.touch()
    }

    fn verify(&mut self) -> Result<(), DbError> {
        self.connection.verify()
    }

    fn scrub(&mut self, what: Scrub) -> Result<(), DbError> {
        self.connection.scrub(what)
    }

    fn close(self: Box<Self>) {
        self.connection.close();
    }
}
