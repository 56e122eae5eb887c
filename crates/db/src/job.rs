//! A closure on its way to the database and back.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{DbError, Lane, Tx};

thread_local! {
    static IN_CLOSURE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a closure just now. Waiting for another one here would wait for ever.
pub(crate) fn in_closure() -> bool {
    IN_CLOSURE.get()
}

/// What a closure is for.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Write(Lane),
    Read,
    Feed,
    /// A read that knows in which version of the database it reads.
    Versioned,
}

/// What became of a closure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ran {
    /// It wants its work committed.
    Keep {
        /// Whether it announced something.
        announce: bool,
        /// Whether there is anything to commit.
        wrote: bool,
    },
    /// It failed, before it wrote anything and without a statement failing: there is nothing to undo.
    Nothing,
    /// It wants its work undone.
    Undo,
}

/// A closure with its caller, whatever their types.
pub(crate) trait Job: Send {
    /// What [`Options::read_ahead`](crate::Options::read_ahead) may read for the closure.
    fn about(&self) -> Option<&str>;
    /// Runs the closure and keeps its result.
    fn run(&mut self, tx: &mut Tx<'_>) -> Ran;
    /// Replaces the result.
    fn fail(&mut self, error: DbError);
    /// Gives the caller the result, or the error that came in between.
    fn answer(self: Box<Self>, fate: Result<(), DbError>);
}

/// The one [`Job`]: a closure, its last result, and the way back to the caller.
pub(crate) struct Task<F, R, T, E> {
    about: Option<String>,
    closure: F,
    reply: R,
    result: Option<Result<T, E>>,
    panicked: bool,
}

impl<F, R, T, E> Task<F, R, T, E> {
    pub(crate) fn new(about: Option<String>, closure: F, reply: R) -> Self {
        Self {
            about,
            closure,
            reply,
            result: None,
            panicked: false,
        }
    }
}

impl<F, R, T, E> Job for Task<F, R, T, E>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
    R: FnOnce(Result<T, E>) + Send,
    T: Send,
    E: From<DbError> + Send,
{
    fn about(&self) -> Option<&str> {
        self.about.as_deref()
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Ran {
        if self.panicked {
            // What a panic left of the closure's state is not fit for another run; the answer stands.
            return Ran::Undo;
        }
        IN_CLOSURE.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.closure)(tx)));
        IN_CLOSURE.set(false);
        let result = match outcome {
            Ok(Ok(value)) => tx
                .failure()
                .cloned()
                .map_or(Ok(value), |failure| Err(failure.into())),
            Ok(Err(error)) => Err(error),
            Err(panic) => {
                self.panicked = true;
                Err(DbError::Other(format!("a closure panicked: {}", message(&*panic))).into())
            }
        };
        let ran = if result.is_ok() {
            Ran::Keep {
                announce: tx.announced(),
                wrote: tx.wrote(),
            }
        } else if tx.wrote() || tx.failure().is_some() {
            Ran::Undo
        } else {
            Ran::Nothing
        };
        self.result = Some(result);
        ran
    }

    fn fail(&mut self, error: DbError) {
        if !matches!(self.result, Some(Err(_))) {
            self.result = Some(Err(error.into()));
        }
    }

    fn answer(self: Box<Self>, fate: Result<(), DbError>) {
        let missing = || Err(DbError::Other("a closure was not run".into()).into());
        (self.reply)(match fate {
            Ok(()) => self.result.unwrap_or_else(missing),
            Err(error) => Err(error.into()),
        });
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
