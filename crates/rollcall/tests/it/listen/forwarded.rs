//! Requests are handed on to the program under development, and its answer goes back.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use serde_json::json;

use super::{Sender, body};

/// A program that answers each request with the next of these, and tells what came.
fn program(answers: Vec<String>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?a=1", listener.local_addr().unwrap());
    let (sender, came) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut portion = [0; 4_096];
            loop {
                let read = stream.read(&mut portion).unwrap();
                request.extend_from_slice(&portion[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                });
                if length.is_some_and(|length: usize| body.len() >= length) {
                    break;
                }
            }
            sender.send(String::from_utf8(request).unwrap()).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (url, came)
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn the_request_goes_on_as_it_came_and_the_answer_back_as_it_was_given() {
    let sender = Sender::new();
    let answer = json!({ "retriedEvents": [{ "eventId": "evnt_1", "eventCode": "busy", "eventMessage": "no table" }] });
    let (elsewhere, led_to) = program(vec![http("200 OK", "", "{}")]);
    let (url, came) = program(vec![
        http(
            "200 OK",
            "content-type: application/json\r\nx-mine: yes\r\n",
            &answer.to_string(),
        ),
        http("302 Found", &format!("location: {elsewhere}\r\n"), ""),
        http("200 OK", "", "<html>"),
        http("200 OK", "", &"x".repeat(1_100_000)),
    ]);
    let mut listening = sender.listen(&["--forward-to", &url]);
    let sent = sender.one("evnt_1");
    let got = listening.post(&sent);
    assert!(
        got.starts_with("HTTP/1.1 200") && got.contains("x-mine: yes"),
        "{got}"
    );
    assert_eq!(body(&got), answer);
    let request = came.recv().unwrap();
    let (head, forwarded) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(forwarded, sent);
    assert!(head.starts_with("POST /hook?a=1 HTTP/1.1"), "{head}");
    assert!(
        head.contains("content-type: application/json;charset=utf-8"),
        "{head}"
    );
    assert!(
        head.contains("x-of-the-sender: kept") && !head.contains("host: here"),
        "{head}"
    );
    listening.until("Ada Lovelace (ada)");
    listening.until("→ retried: busy: no table");
    let line = listening.line();
    assert!(line.contains(&format!("{url} answered 200 in ")), "{line}");

    // A redirect is an answer, and nothing is sent where it leads.
    let got = listening.post(&sender.one("evnt_2"));
    assert!(got.starts_with("HTTP/1.1 302"), "{got}");
    let line = listening.until("answered 302");
    assert!(line.contains("the redirect is not followed"), "{line}");
    assert!(led_to.try_recv().is_err());

    listening.post(&sender.one("evnt_3"));
    let line = listening.until("answered 200");
    assert!(
        line.contains("assumed") && line.contains("an HTML page"),
        "{line}"
    );

    let got = listening.post(&sender.one("evnt_4"));
    assert!(got.starts_with("HTTP/1.1 502"), "{got}");
    listening.until("longer than 1048576 bytes");

    // Now nobody listens there.
    let got = listening.post(&sender.one("evnt_5"));
    assert!(got.starts_with("HTTP/1.1 502"), "{got}");
    assert_eq!(body(&got)["error"], "internal_error");
    listening.until("gave no answer");

    // What is refused is not handed on.
    drop(came);
    let forged = sent.replace("\"}", "AA\"}");
    assert!(listening.post(&forged).starts_with("HTTP/1.1 400"));
    let (code, printed, _) = listening.stop("-TERM");
    assert_eq!(code, 0);
    assert!(
        printed.contains("not answered by the program under development: 2 requests"),
        "{printed}"
    );
}

#[test]
fn requests_are_not_handed_on_in_a_circle_or_with_a_password() {
    let sender = Sender::new();
    let run = |arguments: &[&str]| {
        let whom = ["listen", "--jwks", "jwks.json", "--application-id", "app_1"];
        let mut process = crate::operate::rollcall(sender.folder.path(), &[&whom[..], arguments].concat());
        let output = process.output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let here = format!("http://localhost:{}/other", free.port());
    let (code, told) = run(&["--listen", &free.to_string(), "--forward-to", &here]);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("leads back here"), "{told}");
    let (code, told) = run(&[
        "--listen",
        "127.0.0.1:0",
        "--forward-to",
        "http://me:s3cret@127.0.0.1:1/",
    ]);
    assert_eq!(code, 2, "{told}");
    assert!(!told.contains("s3cret"), "{told}");
    for url in ["ftp://x/", "nowhere"] {
        assert_eq!(run(&["--listen", "127.0.0.1:0", "--forward-to", url]).0, 2);
    }
}
