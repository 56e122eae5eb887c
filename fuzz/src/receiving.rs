//! What an application does with what it has opened.

use std::sync::{Arc, OnceLock};

use arbitrary::Unstructured;
use rollcall_protocol::{Event, EventType, JwkSet};
use rollcall_receiver::{Direct, Handler, KeySource, Outcome, Process, Receiver};
use tokio::runtime::{Builder, Runtime};

use crate::fixtures::{APP, NOW, wire};
use crate::split;

/// Leaves every kind of event to what the library does with it by itself.
struct Nothing;

impl Handler for Nothing {}

/// A request gets an answer of the protocol, whatever it is, and never a failure of ours. Events of any content get
/// one outcome each.
pub fn receiver(data: &[u8]) {
    static RECEIVER: OnceLock<Receiver<Direct<Nothing>>> = OnceLock::new();
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
    }
    let receiver = RECEIVER.get_or_init(|| {
        let wire = wire();
        let keys = JwkSet {
            keys: vec![wire.signing.public_jwk()],
        };
        let keys = KeySource::Document(serde_json::to_string(&keys).unwrap());
        Receiver::builder(keys, APP)
            .encryption_key(wire.secret.clone())
            .require_encryption(false)
            .clock(Arc::new(|| NOW))
            .build(Direct::new(Nothing))
            .unwrap()
    });
    let (how, rest) = split(data);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            if how % 2 == 0 {
                let reply = receiver.receive(None, rest).await;
                assert!(reply.status < 500, "{}", reply.body);
                let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
                assert!(body.is_object());
            } else if let Ok(events) = events(&mut Unstructured::new(rest)) {
                let count = events.len();
                let processor = Direct::new(Nothing);
                let outcomes: Vec<Outcome> = processor.process(events.clone(), NOW).await.unwrap();
                assert_eq!(outcomes.len(), count);
            }
        });
    });
}

fn events(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Vec<Event>> {
    let mut events = Vec::new();
    while events.len() < 8 && !bytes.is_empty() {
        let kind = *bytes.choose(EventType::ALL)?;
        events.push(Event {
            event_id: format!("evnt_{}", bytes.int_in_range(0..=4)?),
            event_type: kind.urn().to_owned(),
            event_time: bytes.arbitrary()?,
            biz_id: format!("id_{}", bytes.int_in_range(0..=2)?),
            biz_data: bytes.arbitrary()?,
        });
    }
    Ok(events)
}
