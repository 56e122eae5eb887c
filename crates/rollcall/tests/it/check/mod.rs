//! `rollcall check`, against the receivers of this project and against endpoints that have one weakness each.

mod command;
mod receivers;
mod weak;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rollcall::check::{self, Case, Options, ReadBack, Report, Verdict};
use rollcall::clock::Clock;
use rollcall::sender::jwks::{JwksServer, Published};
use rollcall::sender::{Post, Sender, keys};
use rollcall_db::testing::databases;
use rollcall_protocol::{EncryptionKey, SystemRandom};
use rollcall_receiver::{HttpJwks, KeySource, Mirror, Receiver, router};

use weak::{Endpoint, Weak, Weakness};

fn sender(encryption: Option<EncryptionKey>) -> Sender {
    let clock = Clock::system();
    Sender {
        instance_id: Sender::usual_instance(),
        application_id: Sender::usual_application(),
        signing: Arc::new(keys::make(clock.now(), &SystemRandom).unwrap()),
        encryption,
        clock,
        random: Arc::new(SystemRandom),
    }
}

fn options(sender: Sender, url: &str, published: Published, read_back: Option<ReadBack>) -> Options {
    Options {
        post: Post::new(url.parse().unwrap(), &[], sender.clock.clone()).unwrap(),
        sender,
        published,
        pinned: None,
        read_back,
        settle: Duration::from_millis(300),
    }
}

/// What did not pass, and why.
fn others(report: &Report) -> Vec<String> {
    let told = |case: &check::Outcome| format!("{}: {:?} {:?}", case.id, case.verdict, case.found);
    let cases = report.cases.iter();
    cases
        .filter(|case| case.verdict != Verdict::Passed)
        .map(told)
        .collect()
}

fn failed(report: &Report) -> BTreeSet<String> {
    let cases = report.cases.iter();
    cases
        .filter(|case| case.verdict == Verdict::Failed)
        .map(|case| case.id.clone())
        .collect()
}

/// The mirror, over HTTP and with a JWKS document that it fetches: it passes everything, on both databases, and nothing is
/// left of the run.
#[test]
fn our_receiver_passes_all() {
    for is_encrypted in [true, false] {
        for database in databases("check_mirror") {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(passes_all(&database.url, is_encrypted));
        }
    }
}

async fn passes_all(database: &str, is_encrypted: bool) {
    let encryption = is_encrypted.then(|| EncryptionKey::generate(&SystemRandom));
    let sender = sender(encryption.clone());
    let published = Published::default();
    published.add(&sender.signing);
    let listen = "127.0.0.1:0".parse().unwrap();
    let (instance, application) = (&sender.instance_id, &sender.application_id);
    let jwks = JwksServer::start(listen, instance, application, published.clone())
        .await
        .unwrap();

    let mirror = Mirror::open(database).await.unwrap();
    let source = KeySource::Endpoint(Arc::new(HttpJwks::new(&jwks.url).unwrap()));
    // Receivers look for keys once in half a minute. It passes for this one before the key is rotated.
    let ahead = Arc::new(AtomicI64::new(0));
    let clock = {
        let ahead = Arc::clone(&ahead);
        Arc::new(move || Clock::system().now() + ahead.load(Ordering::SeqCst))
    };
    let mut builder = Receiver::builder(source, application.clone()).clock(clock);
    if let Some(key) = &encryption {
        builder = builder.encryption_key(key.clone());
    }
    let receiver = Arc::new(builder.build(mirror.clone()).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router(receiver, "/events")).await.unwrap() });

    let query = "SELECT display_name, status, email FROM mirror_users WHERE user_id = $1 AND NOT deleted";
    let read_back = ReadBack::sql(database, query).unwrap();
    let options = options(sender, &url, published, Some(read_back));
    let told = |outcome: &check::Outcome| {
        if outcome.id == "clock-ahead" {
            ahead.store(31_000, Ordering::SeqCst);
        }
    };
    let report = check::run(options, &check::cases(), std::future::pending(), told).await;
    jwks.end().await;
    let unchecked = if is_encrypted {
        0
    } else {
        // What is about encryption.
        3
    };
    assert_eq!(
        report.counts.passed + unchecked,
        report.counts.cases,
        "{:#?}",
        others(&report)
    );
    assert_eq!(report.counts.not_checked, unchecked, "{:#?}", others(&report));
    assert!(report.is_good() && report.counts.cases >= 100);
    assert!(
        report.cleaned.left.is_empty() && report.cleaned.made > 600,
        "{:?}",
        report.cleaned
    );
    let left = mirror.snapshot().await.unwrap();
    assert!(
        left.users.is_empty() && left.units.is_empty() && left.groups.is_empty(),
        "{:?}",
        mirror.counts().await
    );
    mirror.close().await;
}

/// The weaknesses, and the cases that find each.
const FOUND: &[(Weakness, &[&str])] = {
    use Weakness as W;
    &[
        (W::None, &[]),
        (W::AcceptsNone, &["refuse-alg-none", "state-forged-not-applied"]),
        (W::AcceptsHs256, &["refuse-hs256-public-key"]),
        (W::AcceptsOtherAlgorithms, &["refuse-other-algorithm"]),
        (
            W::IgnoresSignatures,
            &[
                "refuse-embedded-key",
                "refuse-empty-signature",
                "refuse-tampered-payload",
                "refuse-tampered-signature",
                "refuse-wrong-key",
                "state-forged-not-applied",
            ],
        ),
        (
            W::AcceptsUnknownKids,
            &["refuse-embedded-key", "refuse-unknown-kid"],
        ),
        (W::AcceptsMissingKids, &["refuse-missing-kid"]),
        (W::TrustsEmbeddedKeys, &["refuse-embedded-key"]),
        (W::AcceptsCrit, &["refuse-crit"]),
        (W::AcceptsAnyIssuer, &["refuse-wrong-issuer"]),
        (
            W::AcceptsAnyAudience,
            &["refuse-wrong-audience", "state-forged-not-applied"],
        ),
        (W::NeverExpires, &["refuse-expired"]),
        (W::AcceptsTheFuture, &["refuse-future"]),
        (W::AcceptsAnyLifetime, &["refuse-long-lifetime"]),
        (W::AcceptsPlaintext, &["refuse-plaintext"]),
        (
            W::SwallowsUndecryptable,
            &[
                "refuse-empty-cipher",
                "refuse-tampered-ciphertext",
                "refuse-undecryptable",
                "refuse-wrong-encryption-key",
            ],
        ),
        (
            W::SwallowsUnreadableBodies,
            &[
                "refuse-no-event",
                "refuse-no-token",
                "refuse-not-json",
                "refuse-truncated-body",
            ],
        ),
        (W::SwallowsUnreadablePayloads, &["refuse-no-payload"]),
        (W::TakesGet, &["refuse-get"]),
        (W::HasNoLeeway, &["clock-ahead"]),
        (W::ForgetsOldEnvelopes, &["old-envelope"]),
        (W::RefusesCrowds, &["concurrent-50"]),
        (W::AnswersAsText, &["answer-content-type"]),
        (W::SkipsTests, &["connection-test-success"]),
        (
            W::FailsTests,
            &[
                "connection-test",
                "connection-test-success",
                "refuse-oversized-body",
                "taken-after-refusals",
            ],
        ),
        (
            W::FailsUnknownTypes,
            &[
                "unknown-namespace",
                "unknown-type",
                "unknown-type-among-known",
                "unknown-type-skipped",
            ],
        ),
        (W::SucceedsUnknownTypes, &["unknown-type-skipped"]),
        (W::RefusesUnknownFields, &["unknown-fields-of-record"]),
        (W::ReadsOlderNamesOnly, &["names-newer-unit", "names-newer-user"]),
        (W::ReadsNewerNamesOnly, &["names-older-unit", "names-older-user"]),
        (W::ReadsNoNumbers, &["numbers-as-numbers"]),
        (W::HasShortColumns, &["long-names"]),
        (
            W::ReadsAsciiOnly,
            &["long-names", "non-ascii-names", "state-non-ascii"],
        ),
        (W::RequiresEmail, &["absent-fields", "state-email-cleared"]),
        (W::ForgetsTheLast, &["batch-500"]),
        (
            W::FailsDuplicates,
            &[
                "answers-of-known-and-new",
                "duplicate-in-one-request",
                "duplicate-in-two-requests",
                "replayed-request",
                "state-duplicate-at-the-same-time",
                "state-duplicate-not-applied",
            ],
        ),
        (W::HasNoMemory, &["state-duplicate-at-the-same-time"]),
        (
            W::HasNoTimes,
            &["state-stale-after-delete", "state-stale-not-applied"],
        ),
        (
            W::HasNeither,
            &[
                "state-duplicate-at-the-same-time",
                "state-duplicate-not-applied",
                "state-replay-not-applied",
                "state-stale-after-delete",
                "state-stale-not-applied",
            ],
        ),
        (
            W::FailsUnknownDeletions,
            &["delete-before-create", "delete-twice"],
        ),
        (
            W::WantsUsersFirst,
            &[
                "disordered-events",
                "state-update-creates",
                "update-of-unknown-user",
            ],
        ),
        (W::FailsKnownUsers, &["create-of-known-user"]),
        (W::AppliesBackwards, &["state-order-in-request"]),
        (W::IgnoresStatus, &["state-disabled"]),
        (W::KeepsMissing, &["state-email-cleared"]),
        (
            W::IgnoresDeletions,
            &[
                "state-deleted",
                "state-replay-not-applied",
                "state-stale-after-delete",
            ],
        ),
    ]
};

/// Runs cases against an endpoint with a weakness.
async fn weakly(weakness: Weakness, cases: &[Case]) -> Report {
    let encryption = EncryptionKey::generate(&SystemRandom);
    let sender = sender(Some(encryption.clone()));
    let published = Published::default();
    published.add(&sender.signing);
    let keys = {
        let published = published.clone();
        move || published.document()
    };
    let Endpoint { url, read_back } =
        Weak::start(weakness, &sender.application_id, Some(encryption), keys).await;
    let read_back = ReadBack::http(&read_back, &[], Clock::system()).unwrap();
    let options = options(sender, &url, published, Some(read_back));
    check::run(options, cases, std::future::pending(), |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_endpoint_fails_exactly_what_it_should() {
    let wrong: Vec<String> = stream::iter(FOUND)
        .map(|(weakness, ids)| async move {
            let report = weakly(*weakness, &check::cases()).await;
            assert_eq!(report.counts.not_checked, 0, "{:#?}", others(&report));
            let expected: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            let found = failed(&report);
            (found != expected)
                .then(|| format!("{weakness:?}: {:#?}, expected {expected:#?}", others(&report)))
        })
        .buffer_unordered(4)
        .filter_map(|wrong| async { wrong })
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_names_the_wrong_events_is_never_good() {
    // That one waits for three quarters of a minute.
    let cases = || {
        let cases = check::cases().into_iter();
        cases.filter(|case| case.id != "key-rotation").collect::<Vec<_>>()
    };
    let expected: BTreeSet<String> = cases()
        .iter()
        .map(|case| case.id.to_string())
        .filter(|id| !id.starts_with("refuse-") || id == "refuse-oversized-body")
        .filter(|id| id != "answer-content-type")
        .collect();
    for weakness in [
        Weakness::AnswersNothing,
        Weakness::NamesAnother,
        Weakness::NamesTwice,
    ] {
        let report = weakly(weakness, &cases()).await;
        assert_eq!(failed(&report), expected, "{weakness:?}");
        assert!(!report.is_good() && !report.cleaned.left.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_never_looked_for_is_waited_for_and_found_missing() {
    let cases: Vec<Case> = check::cases()
        .into_iter()
        .filter(|case| case.id.starts_with("key-"))
        .collect();
    let report = weakly(Weakness::PinsKeys, &cases).await;
    assert_eq!(failed(&report), BTreeSet::from(["key-rotation".to_owned()]));
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_not_passed() {
    let sender = sender(None);
    let published = Published::default();
    published.add(&sender.signing);
    let keys = {
        let published = published.clone();
        move || published.document()
    };
    let endpoint = Weak::start(Weakness::None, &sender.application_id, None, keys).await;
    let mut options = options(sender, &endpoint.url, published, None);
    options.pinned = Some("pinned");
    let report = check::run(options, &check::cases(), std::future::pending(), |_| {}).await;
    for case in &report.cases {
        let needs = case.id.starts_with("state-")
            || matches!(
                case.id.as_str(),
                "key-rotation"
                    | "refuse-plaintext"
                    | "refuse-tampered-ciphertext"
                    | "refuse-wrong-encryption-key"
            );
        let expected = if needs {
            Verdict::NotChecked
        } else {
            Verdict::Passed
        };
        assert_eq!(case.verdict, expected, "{}: {:?}", case.id, case.found);
    }
    assert!(report.is_good() && report.sentence().contains("not checked"));
}

#[tokio::test]
async fn what_is_stopped_is_cleaned_up_and_not_good() {
    let sender = sender(None);
    let published = Published::default();
    published.add(&sender.signing);
    let keys = {
        let published = published.clone();
        move || published.document()
    };
    let endpoint = Weak::start(Weakness::None, &sender.application_id, None, keys).await;
    let options = options(sender, &endpoint.url, published, None);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut stop = Some(stop);
    let mut done = 0;
    let told = |_: &check::Outcome| {
        done += 1;
        if done == 10 {
            drop(stop.take());
        }
    };
    let stopped = async {
        let _ = stopped.await;
    };
    let report = check::run(options, &check::cases(), stopped, told).await;
    assert!(report.interrupted && !report.is_good());
    assert_eq!(report.counts.passed, 10);
    assert_eq!(report.counts.not_checked, report.counts.cases - 10);
    assert!(
        report.cleaned.made > 3 && report.cleaned.left.is_empty(),
        "{:?}",
        report.cleaned
    );
}

#[tokio::test]
async fn what_is_stopped_under_a_new_key_is_cleaned_up_under_the_first() {
    let sender = sender(None);
    let published = Published::default();
    published.add(&sender.signing);
    let keys = {
        let published = published.clone();
        move || published.document()
    };
    let endpoint = Weak::start(Weakness::PinsKeys, &sender.application_id, None, keys).await;
    let cases: Vec<Case> = check::cases()
        .into_iter()
        .filter(|case| case.id == "key-rotation")
        .collect();
    let document = published.clone();
    let options = options(sender, &endpoint.url, published, None);
    let rotated = async {
        while document.document().keys.len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // So that it is being waited for that the endpoint finds the key.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let report = check::run(options, &cases, rotated, |_| {}).await;
    assert!(report.interrupted, "{:#?}", others(&report));
    assert_eq!(report.cleaned.made, 2);
    assert!(report.cleaned.left.is_empty(), "{:?}", report.cleaned);
}
