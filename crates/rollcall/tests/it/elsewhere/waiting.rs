//! Answers elsewhere that are late or lost: what is asked again, what is said, and that nobody has to wait.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollcall::application::Scope;
use rollcall_receiver::testing::Forgetful;
use rustix::process::{Pid, Signal, kill_process};

use super::{Place, Told, program, run};
use crate::forgetful::Simple;
use crate::plain::settled;
use crate::world::on_both;

/// Stands between a command and the hub, and loses the first answers to a method.
struct Lossy {
    address: String,
    lost: Arc<AtomicUsize>,
}

impl Lossy {
    fn start(hub: String, method: &'static str, losses: usize) -> Self {
        Self::after(hub, method, losses, Duration::ZERO)
    }

    /// Loses them after this time.
    fn after(hub: String, method: &'static str, losses: usize, time: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let lost = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lost);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (hub, counted) = (hub.clone(), Arc::clone(&counted));
                std::thread::spawn(move || {
                    let Some(request) = request(&mut stream) else {
                        return;
                    };
                    let mut ahead = TcpStream::connect(&hub).unwrap();
                    // One request for each connection, so that the answer has an end.
                    let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                    ahead.write_all(request.as_bytes()).unwrap();
                    let mut answer = Vec::new();
                    ahead.read_to_end(&mut answer).unwrap();
                    let is_meant = request.starts_with(method);
                    if is_meant && counted.fetch_add(1, Ordering::SeqCst) < losses {
                        std::thread::sleep(time);
                        return;
                    }
                    stream.write_all(&answer).unwrap();
                });
            }
        });
        Self { address, lost }
    }
}

/// A whole request; `None` if the caller goes.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut part = [0; 4_096];
        let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
        text.extend_from_slice(&part[..count]);
        let so_far = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        if body.len() == length {
            return Some(so_far);
        }
    }
}

#[test]
fn ctrl_c_ends_the_waiting_elsewhere_too() {
    on_both("elsewhere_interrupt", |database, _| async move {
        let place = Place::start(&database);
        let hub = place.hub().await;
        place
            .done(&["user", "create", "ada", "--display-name", "Ada"])
            .await;
        let app = Simple::new(&hub, "App", Scope::everything(), Forgetful::new()).await;
        let start = |server: &str| {
            let mut process = program(place.there.path());
            process
                .args(["--server", server, "--token-file", "token", "app", "sync", "App"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            process.spawn().unwrap()
        };
        let interrupt = |child: &Child| kill_process(Pid::from_child(child), Signal::INT).unwrap();
        let ended = async |child: Child| {
            let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
            Told::of(&ended.await.unwrap())
        };

        let held = app.gate.hold_after(0);
        let child = start(&place.server());
        app.gate.has(held).await;
        interrupt(&child);
        let told = ended(child).await;
        assert_eq!(told.code, 3, "{told:?}");
        for part in [
            "it is not waited for any more",
            "goes on by itself",
            "rollcall app show \"App\"",
            "rollcall app cancel \"App\"",
        ] {
            assert!(told.out.contains(part), "{part}: {told:?}");
        }
        let cancelled = place.done(&["app", "cancel", "App"]).await;
        assert!(cancelled.contains("is cancelled"), "{cancelled}");
        app.gate.open();
        settled(&hub, &app.application).await;

        // A hub that does not answer keeps nobody.
        let silent = Lossy::after(place.served.address.clone(), "POST", 1, Duration::from_secs(60));
        let child = start(&format!("http://{}", silent.address));
        while silent.lost.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        interrupt(&child);
        let told = ended(child).await;
        assert_eq!(told.code, 1, "{told:?}");
        for part in ["has not answered yet", "rollcall app show \"App\""] {
            assert!(told.beside.contains(part), "{part}: {told:?}");
        }
        settled(&hub, &app.application).await;

        // And what a hub has begun that goes, goes on when it is back.
        let under_way = async || {
            let shown = place.json(&["app", "show", "App"]).await;
            let status = shown["synchronizations"][0]["status"]
                .as_str()
                .unwrap()
                .to_owned();
            ["pending", "running"].contains(&status.as_str())
        };
        while under_way().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let held = app.gate.hold_after(0);
        let child = start(&place.server());
        app.gate.has(held).await;
        place.served.signal("-KILL");
        let told = ended(child).await;
        assert_eq!(told.code, 1, "{told:?}");
        for part in ["goes on by itself", "is not followed any more", "rollcall serve"] {
            assert!(told.beside.contains(part), "{part}: {told:?}");
        }
        app.gate.open();
    });
}

#[test]
fn what_is_made_although_the_answer_was_lost_is_made_once() {
    on_both("elsewhere_lost", |database, _| async move {
        let place = Place::start(&database);
        let through = |lossy: &Lossy, arguments: &[&str]| {
            let mut process = program(place.there.path());
            process
                .args([
                    "--server",
                    &format!("http://{}", lossy.address),
                    "--token-file",
                    "token",
                ])
                .args(arguments);
            run(process)
        };
        let lossy = Lossy::start(place.served.address.clone(), "POST", 2);
        let made = through(&lossy, &["user", "create", "ada", "--display-name", "Ada"]).await;
        assert_eq!(made.code, 0, "{made:?}");
        assert_eq!(
            lossy.lost.load(Ordering::SeqCst),
            3,
            "it was sent again until it was answered"
        );
        let shown = place.json(&["user", "show", "ada"]).await;
        assert_eq!(shown["id"], made.out.trim());
        // Without the key the second would have been refused, since the name is taken by the first.
        let twice = place
            .there(&["user", "create", "ada", "--display-name", "Ada", "--json"])
            .await;
        assert_eq!((twice.code, twice.error().0.as_str()), (1, "username_taken"));

        // What reads is sent again too.
        let lossy = Lossy::start(place.served.address.clone(), "GET", 1);
        let shown = through(&lossy, &["user", "show", "ada"]).await;
        assert!(shown.code == 0 && shown.out.contains("ada"), "{shown:?}");
        // What is neither is sent once, and it is said that it may be done.
        let lossy = Lossy::start(place.served.address.clone(), "POST", 1);
        let told = through(&lossy, &["user", "disable", "ada", "--json"]).await;
        let (code, _, hint) = told.error();
        assert_eq!((told.code, code.as_str()), (1, "no_answer"), "{told:?}");
        assert!(hint.contains("it may be done all the same"), "{hint}");
        assert_eq!(lossy.lost.load(Ordering::SeqCst), 1);
        assert_eq!(place.json(&["user", "show", "ada"]).await["enabled"], false);
    });
}
