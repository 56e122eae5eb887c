//! A question that those who ask at the same time share.
//!
//! Whoever asks draws a number, and lets all others come first who are ready to run on this thread. Then he takes the
//! answer that was given last, if its question was put after his number was drawn: everything that had happened before he
//! came is in it. If not, he puts the question, for all who have drawn a number by then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How a question is shared.
pub(crate) struct Sharing<T> {
    /// The number that whoever asks next draws.
    next: AtomicU64,
    /// What was answered last. It is held while the question is put, so that two do not put it at once.
    last: Mutex<Option<Answer<T>>>,
}

struct Answer<T> {
    /// Whoever has drawn a smaller number had come when the question was put.
    below: u64,
    answer: T,
}

impl<T> Default for Sharing<T> {
    fn default() -> Self {
        Self {
            next: AtomicU64::new(0),
            last: Mutex::new(None),
        }
    }
}

impl<T: Copy> Sharing<T> {
    /// The answer to a question that is put after this was polled first, by whomever.
    pub(crate) async fn ask(&self, question: impl FnOnce() -> T) -> T {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Answer { below, answer }) = *last
            && number < below
        {
            return answer;
        }
        // Before the question is put: who comes meanwhile has perhaps seen what is not in the answer.
        let below = self.next.load(Ordering::SeqCst);
        let answer = question();
        *last = Some(Answer { below, answer });
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll(future: &mut Pin<Box<impl Future<Output = u32>>>) -> Poll<u32> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_has_come_before_a_question_shares_it_and_who_comes_during_or_after_it_does_not() {
        let sharing = Sharing::default();
        let count = Cell::new(0);
        let put = || {
            count.set(count.get() + 1);
            count.get()
        };
        let during = RefCell::new(Box::pin(sharing.ask(put)));
        let mut first = Box::pin(sharing.ask(|| {
            assert!(poll(&mut during.borrow_mut()).is_pending());
            put()
        }));
        let mut second = Box::pin(sharing.ask(put));
        let mut third = Box::pin(sharing.ask(put));
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
        assert_eq!(poll(&mut first), Poll::Ready(1));
        assert!(poll(&mut third).is_pending());
        assert_eq!(poll(&mut second), Poll::Ready(1), "it had come before");
        // Before anybody who came after: it must not find an answer to a later question.
        assert_eq!(
            poll(&mut during.borrow_mut()),
            Poll::Ready(2),
            "it came meanwhile"
        );
        assert_eq!(poll(&mut third), Poll::Ready(2), "it had come by then");
        assert_eq!(count.get(), 2);
    }
}
