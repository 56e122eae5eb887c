//! The threads that run closures, and the queues before them.
//!
//! Each queue has one thread, but for that of the general readers, which has several. Queues are bounded: who
//! finds one full waits for room, and is told that the database is busy if there is none in time. A panic within
//! a closure is an answer like any other; a panic beside one costs the closures in hand, and the thread goes on.
//!
//! A writer lets closures for which nobody waits linger in the queue for a moment, so that they share a commit.
//! It sleeps meanwhile: to be woken for each of them would cost more than to run them. Whoever queues something
//! urgent rings its [`Alarm`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::job::Job;
use crate::patience::{Patience, monotonic};
use crate::tx::{Connection, Scrub};
use crate::writer::{self, Shared, Writer};
use crate::{DbError, Options};

/// What a thread is to do.
pub(crate) enum Message {
    Job(Box<dyn Job>, Urgency),
    /// See [`Connection::scrub`].
    Scrub(Scrub, Box<dyn FnOnce(Result<(), DbError>) + Send>),
    /// The thread that gets it ends; the sender sees that by its other half being dropped.
    Close(Arc<dyn Send + Sync>),
}

impl Message {
    fn is_urgent(&self) -> bool {
        !matches!(self, Self::Job(_, Urgency::Later))
    }
}

/// Whether somebody waits for a closure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    Now,
    /// It may wait a little for others, to share their commit.
    Later,
}

/// What ends a writer's sleep before its time.
#[derive(Default)]
struct Alarm {
    state: Mutex<AlarmState>,
    rung: Condvar,
    /// How many closures in the queue are enough to wake up for, while somebody sleeps.
    enough: AtomicUsize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum AlarmState {
    /// Nobody sleeps.
    #[default]
    Off,
    /// Somebody sleeps, or is about to.
    Set,
    /// Whoever sleeps has to wake up.
    Rung,
}

impl Alarm {
    /// Announces a sleep. What was queued before has to be looked at after this, because it did not ring.
    fn set(&self, enough: usize) {
        self.enough.store(enough, Ordering::SeqCst);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = AlarmState::Set;
    }

    fn ring(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == AlarmState::Set {
            *state = AlarmState::Rung;
            self.rung.notify_one();
        }
    }

    /// Sleeps for a time at most; whether the alarm was rung.
    fn sleep(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = self
            .rung
            .wait_timeout_while(state, time, |state| *state == AlarmState::Set)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *state) == AlarmState::Rung
    }
}

/// The way to one or more threads.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: Sender<Message>,
    threads: usize,
    busy_after: Duration,
    /// The alarm of the thread, if it is a writer's.
    alarm: Option<Arc<Alarm>>,
}

/// How long who blocks a thread sleeps before it looks for room again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Queue {
    /// Queues at once, or gives the message back if there is no room.
    pub(crate) fn try_send(&self, message: Message) -> Result<(), TrySendError<Message>> {
        let urgent = message.is_urgent();
        self.sender.try_send(message)?;
        self.ring(urgent);
        Ok(())
    }

    fn queued(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    /// Wakes the writer for something urgent, or for a whole group of what is not.
    fn ring(&self, urgent: bool) {
        if let Some(alarm) = &self.alarm
            && (urgent || self.queued() >= alarm.enough.load(Ordering::SeqCst))
        {
            alarm.ring();
        }
    }

    /// Queues as soon as there is room, or says that there is none.
    pub(crate) async fn send(&self, message: Message) -> Result<(), DbError> {
        match tokio::time::timeout(self.busy_after, self.sender.reserve()).await {
            Ok(Ok(room)) => {
                let urgent = message.is_urgent();
                room.send(message);
                self.ring(urgent);
                Ok(())
            }
            Ok(Err(_)) => Err(DbError::Closed),
            Err(_) => Err(self.busy()),
        }
    }

    /// Does what [`Queue::send`] does, blocking this thread.
    pub(crate) fn send_blocking(&self, mut message: Message) -> Result<(), DbError> {
        let begun = monotonic();
        loop {
            message = match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(_)) => return Err(DbError::Closed),
                Err(TrySendError::Full(message)) => message,
            };
            if monotonic().duration_since(begun) >= self.busy_after {
                return Err(self.busy());
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Queues the message that ends a thread, however long it takes until there is room. Who has ended already
    /// needs none.
    pub(crate) async fn end(&self, message: Message) {
        drop(self.sender.send(message).await);
        self.ring(true);
    }

    /// Does what [`Queue::end`] does, blocking this thread.
    pub(crate) fn end_blocking(&self, message: Message) {
        drop(self.sender.blocking_send(message));
        self.ring(true);
    }

    fn busy(&self) -> DbError {
        DbError::Busy(self.sender.max_capacity())
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Why a closure that was queued was not answered.
    pub(crate) fn unanswered(&self) -> DbError {
        if self.sender.is_closed() {
            DbError::Closed
        } else {
            DbError::Other("the database's thread panicked; its log says why".into())
        }
    }
}

/// Starts a writer's thread.
pub(crate) fn write(name: &str, writer: Writer, options: &Options) -> Result<Queue, DbError> {
    let (sender, queue) = channel(options.queue.max(1));
    let alarm = Arc::new(Alarm::default());
    let (waking, time) = (Arc::clone(&alarm), options.linger);
    spawn(name, move || write_all(writer, queue, &waking, time))?;
    Ok(Queue {
        sender,
        threads: 1,
        busy_after: options.busy_after,
        alarm: Some(alarm),
    })
}

/// Starts the threads of readers that share a queue.
pub(crate) fn read(
    name: &str,
    connections: Vec<(Box<dyn Connection>, Patience)>,
    shared: &Shared,
    options: &Options,
) -> Result<Queue, DbError> {
    let (sender, queue) = channel(options.queue.max(1));
    let queue = Arc::new(Mutex::new(queue));
    let threads = connections.len();
    for (number, (connection, patience)) in connections.into_iter().enumerate() {
        let (queue, shared) = (Arc::clone(&queue), shared.clone());
        spawn(&format!("{name} {}", number + 1), move || {
            let closed = read_all(connection, patience, &shared, &queue);
            // What is still queued is answered before the caller of `close` is.
            drop(queue);
            drop(closed);
        })?;
    }
    Ok(Queue {
        sender,
        threads,
        busy_after: options.busy_after,
        alarm: None,
    })
}

/// What a writer commits at once.
#[derive(Default)]
struct Batch {
    jobs: Vec<Box<dyn Job>>,
    /// Whether somebody waits for it.
    urgent: bool,
    /// What comes after it, and ends it.
    last: Option<Message>,
}

impl Batch {
    fn add(&mut self, message: Message) {
        match message {
            Message::Job(job, urgency) => {
                self.jobs.push(job);
                self.urgent |= urgency == Urgency::Now;
            }
            other => self.last = Some(other),
        }
    }

    fn has_room(&self, writer: &Writer) -> bool {
        self.last.is_none() && self.jobs.len() < writer.group
    }

    /// Adds what is queued.
    fn fill(&mut self, writer: &Writer, queue: &mut Receiver<Message>) {
        while self.has_room(writer)
            && let Ok(message) = queue.try_recv()
        {
            self.add(message);
        }
    }
}

/// Takes what comes until a moment, or until something of it is urgent.
fn linger(batch: &mut Batch, writer: &Writer, queue: &mut Receiver<Message>, alarm: &Alarm, until: Instant) {
    loop {
        alarm.set(writer.group.saturating_sub(batch.jobs.len()));
        batch.fill(writer, queue);
        if batch.urgent || !batch.has_room(writer) {
            return;
        }
        if !alarm.sleep(until.saturating_duration_since(monotonic())) {
            return batch.fill(writer, queue);
        }
    }
}

/// The writer thread's life.
fn write_all(mut writer: Writer, mut queue: Receiver<Message>, alarm: &Alarm, time: Duration) {
    while let Some(first) = queue.blocking_recv() {
        let mut batch = Batch::default();
        batch.add(first);
        batch.fill(&writer, &mut queue);
        if !batch.urgent && batch.has_room(&writer) {
            linger(&mut batch, &writer, &mut queue, alarm, monotonic() + time);
        }
        let Batch { jobs, last, .. } = batch;
        if !jobs.is_empty() {
            survive(&mut writer, |writer| writer.commit(jobs), Writer::abandon);
        }
        match last {
            Some(Message::Scrub(what, answer)) => {
                survive(&mut writer, |writer| answer(writer.scrub(what)), Writer::abandon);
            }
            Some(Message::Close(closed)) => {
                writer.close();
                // What is still queued is answered before the caller of `close` is.
                drop(queue);
                return drop(closed);
            }
            Some(Message::Job(..)) | None => {}
        }
    }
    writer.close();
}

/// A reader thread's life.
fn read_all(
    connection: Box<dyn Connection>,
    patience: Patience,
    shared: &Shared,
    queue: &Mutex<Receiver<Message>>,
) -> Option<Arc<dyn Send + Sync>> {
    let mut reader = (connection, patience);
    loop {
        let message = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        match message {
            Some(Message::Job(job, _)) => survive(
                &mut reader,
                |(connection, patience)| writer::read(&mut **connection, patience, shared, job),
                |(connection, _)| connection.abandon(),
            ),
            Some(Message::Scrub(..)) => {}
            Some(Message::Close(closed)) => return Some(closed),
            None => return None,
        }
    }
}

/// Goes on after a panic that no closure is to blame for, and says that there was one.
fn survive<T>(it: &mut T, work: impl FnOnce(&mut T), abandon: impl FnOnce(&mut T)) {
    if catch_unwind(AssertUnwindSafe(|| work(it))).is_err() {
        tracing::error!("a database thread panicked; the closures that it ran are lost");
        if catch_unwind(AssertUnwindSafe(|| abandon(it))).is_err() {
            tracing::error!("a transaction could not be rolled back after a panic");
        }
    }
}

/// Starts a thread.
pub(crate) fn spawn(name: &str, life: impl FnOnce() + Send + 'static) -> Result<(), DbError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(life);
    thread.map(drop).map_err(|error| DbError::other(&error))
}
