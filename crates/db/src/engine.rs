//! The threads that run closures, and the queues before them.
//!
//! Each queue has one thread, but for that of the general readers, which has several. Queues are bounded: who
//! finds one full waits. A panic within a closure is an answer like any other; a panic beside one costs the
//! closures in hand, and the thread goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::DbError;
use crate::job::Job;
use crate::patience::Patience;
use crate::tx::Connection;
use crate::writer::{self, Trouble, Writer};

/// What a thread is to do.
pub(crate) enum Message {
    Job(Box<dyn Job>),
    /// See [`Connection::scrub`].
    Scrub(Box<dyn FnOnce(Result<(), DbError>) + Send>),
    /// The thread that gets it ends; the sender sees that by its other half being dropped.
    Close(Arc<dyn Send + Sync>),
}

/// The way to one or more threads.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: Sender<Message>,
    threads: usize,
}

impl Queue {
    /// Queues at once, or gives the message back if there is no room.
    pub(crate) fn try_send(&self, message: Message) -> Result<(), TrySendError<Message>> {
        self.sender.try_send(message)
    }

    /// Queues as soon as there is room.
    pub(crate) async fn send(&self, message: Message) -> Result<(), DbError> {
        self.sender.send(message).await.map_err(|_| DbError::Closed)
    }

    /// Queues as soon as there is room, blocking this thread.
    pub(crate) fn send_blocking(&self, message: Message) -> Result<(), DbError> {
        match self.sender.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(DbError::Closed),
            Err(TrySendError::Full(message)) => {
                self.sender.blocking_send(message).map_err(|_| DbError::Closed)
            }
        }
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
pub(crate) fn write(name: &str, writer: Writer, room: usize) -> Result<Queue, DbError> {
    let (sender, queue) = channel(room);
    spawn(name, move || write_all(writer, queue))?;
    Ok(Queue { sender, threads: 1 })
}

/// Starts the threads of readers that share a queue.
pub(crate) fn read(
    name: &str,
    connections: Vec<(Box<dyn Connection>, Patience)>,
    damage: &Arc<Trouble>,
    room: usize,
) -> Result<Queue, DbError> {
    let (sender, queue) = channel(room);
    let queue = Arc::new(Mutex::new(queue));
    let threads = connections.len();
    for (number, (connection, patience)) in connections.into_iter().enumerate() {
        let (queue, damage) = (Arc::clone(&queue), Arc::clone(damage));
        spawn(&format!("{name} {}", number + 1), move || {
            let closed = read_all(connection, patience, &damage, &queue);
            // What is still queued is answered before the caller of `close` is.
            drop(queue);
            drop(closed);
        })?;
    }
    Ok(Queue { sender, threads })
}

/// The writer thread's life.
fn write_all(mut writer: Writer, mut queue: Receiver<Message>) {
    while let Some(first) = queue.blocking_recv() {
        let mut jobs = Vec::new();
        let mut last = None;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Job(job) => jobs.push(job),
                other => last = Some(other),
            }
            next = if jobs.len() >= writer.group || last.is_some() {
                None
            } else {
                queue.try_recv().ok()
            };
        }
        if !jobs.is_empty() {
            survive(&mut writer, |writer| writer.commit(jobs), Writer::abandon);
        }
        match last {
            Some(Message::Scrub(answer)) => {
                survive(&mut writer, |writer| answer(writer.scrub()), Writer::abandon);
            }
            Some(Message::Close(closed)) => {
                writer.close();
                // What is still queued is answered before the caller of `close` is.
                drop(queue);
                return drop(closed);
            }
            Some(Message::Job(_)) | None => {}
        }
    }
    writer.close();
}

/// A reader thread's life.
fn read_all(
    connection: Box<dyn Connection>,
    patience: Patience,
    damage: &Trouble,
    queue: &Mutex<Receiver<Message>>,
) -> Option<Arc<dyn Send + Sync>> {
    let mut reader = (connection, patience);
    loop {
        let message = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        match message {
            Some(Message::Job(job)) => survive(
                &mut reader,
                |(connection, patience)| writer::read(&mut **connection, patience, damage, job),
                |(connection, _)| connection.abandon(),
            ),
            Some(Message::Scrub(_)) => {}
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
