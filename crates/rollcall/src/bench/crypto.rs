//! Sealing and opening beside the bare signature and its verification.

use anyhow::{Context as _, Result};
use rollcall_protocol::{
    EncryptionKey, Event, EventBatch, EventType, JwkSet, Opener, SealParams, SigningKey, SystemRandom, seal,
};

use super::world::new_user;
use super::{Figure, Sorted};
use crate::clock::{Clock, Millis};

/// For how long each figure is taken.
const SECONDS: f64 = 0.7;

/// A batch as it leaves the hub.
pub(super) fn batch(events: usize, now: Millis) -> EventBatch {
    EventBatch {
        instance_id: "idaas_benchmark".to_owned(),
        event_version: "V1.0".to_owned(),
        ali_uid: "1000000000000000".to_owned(),
        events: (0..events)
            .map(|number| Event {
                event_id: format!("evnt_{number:026}"),
                event_type: EventType::UserUpdateInfo.urn().to_owned(),
                event_time: now,
                biz_id: format!("user_{number:026}"),
                biz_data: new_user(number).preview(now),
            })
            .collect(),
    }
}

/// A batch of records as they are.
pub(super) fn batch_of(records: impl Iterator<Item = (String, String)>, now: Millis) -> EventBatch {
    EventBatch {
        events: records
            .map(|(id, record)| Event {
                event_id: format!("evnt_{id}"),
                event_type: EventType::UserPush.urn().to_owned(),
                event_time: now,
                biz_id: id,
                biz_data: record,
            })
            .collect(),
        ..batch(0, now)
    }
}

/// The median time of something, in microseconds.
fn median(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let clock = Clock::system();
    let whole = clock.stopwatch();
    let mut times = Vec::new();
    while whole.elapsed().as_secs_f64() < SECONDS || times.len() < 20 {
        let watch = clock.stopwatch();
        work()?;
        times.push(watch.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Sorted::new(times).quantile(0.5))
}

pub(super) fn measure() -> Result<Vec<Figure>> {
    let key = SigningKey::generate("benchmark")?;
    let encryption_key = EncryptionKey::generate(&SystemRandom);
    let jwks = JwkSet {
        keys: vec![key.public_jwk()],
    };
    let verifier = jwks.verifier();
    let message = [7_u8; 1_024];
    let sign = median(|| {
        key.sign(&message).context("no signature")?;
        Ok(())
    })?;
    let mut figures = vec![Figure::new("crypto", "sign (RS256)", sign, "µs")];
    let now = Clock::system().now();
    for events in [1, 10, 100, 500] {
        let batch = batch(events, now);
        let params = SealParams {
            key: &key,
            instance_id: "idaas_benchmark",
            application_id: "app_benchmark",
            encryption: Some(&encryption_key),
            now_ms: now,
            random: &SystemRandom,
        };
        let sealing = median(|| {
            seal(&batch, &params)?;
            Ok(())
        })?;
        let sealed = seal(&batch, &params)?;
        let opener = Opener {
            decryption: Some(&encryption_key),
            ..Opener::new(&verifier, "app_benchmark")
        };
        let opening = median(|| {
            opener.open(sealed.body.as_bytes(), now)?;
            Ok(())
        })?;
        let name = format!("{events} event{}", if events == 1 { "" } else { "s" });
        figures.push(
            Figure::new("crypto", format!("seal {name}, encrypted"), sealing, "µs").beside("sign", sign),
        );
        figures.push(
            Figure::new("crypto", format!("open {name}, encrypted"), opening, "µs").beside("sign", sign),
        );
    }
    Ok(figures)
}
