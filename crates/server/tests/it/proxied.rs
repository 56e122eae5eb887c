//! Whom the server takes a request to be from, and what every answer says.

use rollcall_server::{ForwardedBy, Limits, Options, Proxies};

use crate::{Running, rest, start, wide};

fn behind(network: &str, limits: Limits) -> Options {
    Options {
        proxies: Proxies::new(&[network.to_owned()], ForwardedBy::XForwardedFor).unwrap(),
        ..Options::from(limits)
    }
}

impl Running {
    /// The answer to a request with these headers besides the usual ones.
    async fn ask_with(&self, path: &str, headers: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n{headers}\r\n");
        rest(self.send(&request).await).await
    }
}

const CLAIM: &str =
    "x-forwarded-for: 198.51.100.7\r\nx-forwarded-proto: https\r\nx-forwarded-host: hub.example\r\n";

#[tokio::test]
async fn only_a_trusted_proxy_is_believed_when_it_names_its_client() {
    let alone = start(wide()).await;
    let behind_another = start(behind("198.51.100.0/24", wide())).await;
    for stranger in [alone, behind_another] {
        let own = r#"Client { address: 127.0.0.1, secure: false, host: Some("hub") }"#;
        let answer = stranger.ask_with("/client", CLAIM).await;
        assert!(answer.ends_with(own), "{answer}");
        assert!(!answer.contains("strict-transport-security"), "{answer}");
    }
    let proxy = start(behind("127.0.0.0/8", wide())).await;
    let named = r#"Client { address: 198.51.100.7, secure: true, host: Some("hub.example") }"#;
    let answer = proxy.ask_with("/client", CLAIM).await;
    assert!(answer.ends_with(named), "{answer}");
}

#[tokio::test]
async fn every_answer_has_the_headers_that_browsers_need() {
    let running = start(behind("127.0.0.1", wide())).await;
    for path in ["/", "/kept", "/nothing"] {
        let (plain, secure) = (
            running.ask_with(path, "").await,
            running.ask_with(path, CLAIM).await,
        );
        for answer in [&plain, &secure] {
            assert!(answer.contains("x-content-type-options: nosniff\r\n"), "{answer}");
            let kept = answer.contains("cache-control: max-age=60\r\n");
            let not_kept = answer.contains("cache-control: no-store\r\n");
            assert_eq!((kept, not_kept), (path == "/kept", path != "/kept"), "{answer}");
        }
        assert!(!plain.contains("strict-transport-security"), "{plain}");
        assert!(
            secure.contains("strict-transport-security: max-age=31536000\r\n"),
            "{secure}"
        );
    }
}

#[tokio::test]
async fn clients_behind_a_proxy_have_the_limit_of_an_address_each() {
    let limits = Limits {
        per_address: 2,
        ..wide()
    };
    let mut running = start(behind("127.0.0.1", limits)).await;
    let from = |address: &str| format!("x-forwarded-for: {address}\r\n");
    // The proxy itself has no limit but that of all connections.
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(running.send("").await);
    }
    let mut asked = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..2 {
        let request =
            "GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-for: 198.51.100.7\r\n\r\n";
        asked.push(running.send(request).await);
        ends.push(running.slow.recv().await.unwrap());
    }
    let refused = running.ask_with("/", &from("198.51.100.7")).await;
    assert!(
        refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: 1\r\n"),
        "{refused}"
    );
    let (_, problem) = refused.split_once("\r\n\r\n").unwrap();
    let problem: serde_json::Value = serde_json::from_str(problem).unwrap();
    assert_eq!(problem["code"], "too_many_requests");
    assert!(
        running
            .ask_with("/", &from("198.51.100.8"))
            .await
            .ends_with("here")
    );
    assert!(running.ask("/").await.ends_with("here"));
    for (stream, end) in asked.into_iter().zip(ends) {
        end.send(()).unwrap();
        assert!(rest(stream).await.ends_with("at last"));
    }
    let again = running.ask_with("/", &from("198.51.100.7")).await;
    assert!(again.ends_with("here"), "{again}");
    for mut stream in silent {
        use tokio::io::AsyncWriteExt as _;
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        assert!(rest(stream).await.ends_with("here"), "no silent one gave way");
    }
}
