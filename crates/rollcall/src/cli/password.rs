//! A new password: typed twice without being shown, or the first line of what a pipe brings.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail};
use rollcall_server::StopSignals;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::failure::Refusal;
use crate::secret::SecretString;

/// Reads a password.
pub(super) async fn ask_for() -> Result<SecretString> {
    // Before anything is shown: who stops the program must find the terminal as it was.
    let mut stop = StopSignals::listen()?;
    let text = if io::stdin().is_terminal() {
        typed(&mut stop).await?
    } else {
        line(&mut stop).await?
    };
    Ok(text.as_str().to_owned().into())
}

async fn typed(stop: &mut StopSignals) -> Result<Zeroizing<String>> {
    let _unseen = Unseen::begin().context("the terminal cannot be kept from showing what is typed")?;
    ask("New password: ")?;
    let first = line(stop).await?;
    ask("The same again: ")?;
    let second = line(stop).await?;
    if *first != *second {
        let message = "the two are not the same; nothing is changed";
        bail!(Refusal::of(
            "passwords_differ",
            message,
            "try again, and type the same twice"
        ));
    }
    Ok(first)
}

/// Asks beside the results, so that those can be piped on.
fn ask(question: &str) -> io::Result<()> {
    let mut terminal = io::stderr();
    terminal.write_all(question.as_bytes())?;
    terminal.flush()
}

async fn line(stop: &mut StopSignals) -> Result<Zeroizing<String>> {
    let (answer, read) = oneshot::channel();
    // On a thread of its own: the runtime waits at its end for threads that it lent.
    std::thread::spawn(move || {
        let mut text = Zeroizing::new(String::new());
        let result = io::stdin().read_line(&mut text).map(|_| text);
        // Whoever asked may have gone.
        let _ = answer.send(result);
    });
    let text = tokio::select! {
        text = read => text?.context("the password cannot be read")?,
        () = stop.next() => bail!(Refusal::of(
            "cancelled",
            "cancelled; nothing is changed",
            "the same command asks again"
        )),
    };
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        let message = "no password was given; nothing is changed";
        bail!(Refusal::wrong_use(
            message,
            "type one, or write it to the standard input"
        ));
    }
    Ok(Zeroizing::new(password.to_owned()))
}

/// As long as it lives, the terminal does not show what is typed.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        // The end of a line is still shown.
        unseen.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
