//! What strangers may cause as often as they like, and costs little all the same.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollcall_server::complaints::Complaints;
use rollcall_server::kept::Kept;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn complaints_are_logged_once_a_minute() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let complaints = Complaints::default();
    for _ in 0..1_000 {
        complaints.about("no room");
    }
    tokio::time::advance(Duration::from_secs(59)).await;
    complaints.about("no room");
    tokio::time::advance(Duration::from_secs(1)).await;
    complaints.about("no room");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("no room kept_back=0"), "{text}");
    assert!(lines[1].contains("no room kept_back=1000"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_a_second_and_an_error_is_not() {
    let (kept, asked) = (Kept::default(), AtomicU32::new(0));
    let (kept, asked) = (&kept, &asked);
    let ask = |fail: bool| {
        kept.get(async move {
            let number = asked.load(Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
            asked.store(number, Ordering::SeqCst);
            if fail { Err(number) } else { Ok(number) }
        })
    };
    assert_eq!(ask(true).await, Err(1));
    // Those who ask meanwhile wait for the same answer.
    assert_eq!(
        tokio::join!(ask(false), ask(false), ask(true)),
        (Ok(2), Ok(2), Ok(2))
    );
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(ask(false).await, Ok(2));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(ask(false).await, Ok(3));
}
