//! Wake-ups across processes: `LISTEN`, and `NOTIFY` with each commit that announces something.
//!
//! A notification is a hint. Who waits for it looks now and then without one, too: what is sent while the
//! listener's connection is away is lost.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::AsyncMessage;

use super::CHANNEL;
use super::server::{Messages, Server};
use crate::DbError;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Counts the announcements of other processes until `closed` says so or is dropped. Runs on a thread of its
/// own. `own` is the name of this process's writer, whose announcements are counted already.
pub(crate) fn listen(
    server: &Server,
    own: &str,
    announcements: &watch::Sender<u64>,
    mut closed: watch::Receiver<bool>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::warn!(%error, "changes of other processes are noticed late"),
    };
    runtime.block_on(async {
        let listening = async {
            let mut pause = FIRST_PAUSE;
            let mut is_first = true;
            loop {
                let heard = async |client: tokio_postgres::Client, messages: Messages| {
                    let listening = || {
                        pause = FIRST_PAUSE;
                        // What was announced while nobody listened is not told.
                        if !std::mem::take(&mut is_first) {
                            announcements.send_modify(|count| *count += 1);
                        }
                    };
                    hear(&client, messages, own, announcements, listening).await
                };
                let error = match server.connect_with(heard).await {
                    Ok(error) | Err(error) => error,
                };
                tracing::debug!(%error, "changes of other processes are noticed late");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => {}
            () = listening => {}
        }
    });
}

/// Listens until the connection is lost, and says why.
async fn hear(
    client: &tokio_postgres::Client,
    mut messages: Messages,
    own: &str,
    announcements: &watch::Sender<u64>,
    mut listening: impl FnMut(),
) -> DbError {
    let listen = format!("LISTEN {CHANNEL}");
    let listens = client.batch_execute(&listen);
    let mut listens = std::pin::pin!(listens);
    let mut is_listening = false;
    poll_fn(|cx| {
        loop {
            match messages(cx) {
                Poll::Ready(Some(Ok(AsyncMessage::Notification(heard)))) => {
                    if heard.payload() != own {
                        announcements.send_modify(|count| *count += 1);
                    }
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(super::error::typed(&error));
                }
                Poll::Ready(None) => {
                    return Poll::Ready(DbError::away("the connection was closed"));
                }
                Poll::Pending => break,
            }
        }
        if !is_listening {
            match listens.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => {
                    is_listening = true;
                    listening();
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(super::error::typed(&error));
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    })
    .await
}
