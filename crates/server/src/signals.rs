//! The signals that ask a program to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code after a second signal: that of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Ctrl-C and SIGTERM, which from then on do not end the process by themselves.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Begins to listen for them.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Ends the process at once when the next of them comes, with exit code 130, whatever it is doing then.
    pub fn end_at_the_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("asked a second time: ending at once, without finishing what is in flight");
            std::process::exit(INTERRUPTED);
        });
    }
}

/// The signals that ask for what was configured to be read again (SIGHUP).
#[derive(Debug)]
pub(crate) struct Hangups(Option<Signal>);

impl Hangups {
    /// Begins to listen for them; from then on they do not end the process.
    pub(crate) fn listen() -> Self {
        let signal = signal(SignalKind::hangup());
        if let Err(error) = &signal {
            tracing::warn!(%error, "SIGHUP cannot be listened for");
        }
        Self(signal.ok())
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) {
        let received = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if received.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
