//! One case for every type of event. What comes before it in the life of its subject is sent first.

use rollcall_protocol::{Event, EventType};

use super::TYPES;
use crate::check::case::{Case, words};
use crate::sender::{Cast, before};

/// All but the connection test, which has a case of its own.
pub(super) fn cases() -> Vec<Case> {
    let kinds = EventType::ALL.iter().copied();
    kinds.filter(|kind| *kind != EventType::Test).map(case).collect()
}

fn case(kind: EventType) -> Case {
    let short = kind.short().trim_start_matches("ud:");
    let id = format!("type-{}", short.replace([':', '_'], "-"));
    let requirement = format!("Events of the type {} are taken.", kind.short());
    Case::must(
        id,
        words(
            requirement,
            TYPES,
            "HTTP 200, with each event in successEvents, or in skippedEvents if the application has no use for the type.",
            "Handle the type, or answer it with skippedEvents and the code auto_skipped. What stands in failedEvents is \
             set aside, and what stands in retriedEvents holds up everything later of its subject.",
        ),
        move |course| {
            Box::pin(async move {
                let now = course.sender.clock.now();
                let home = course.home.clone();
                let cast = Cast::new(&mut course.samples, &home, now);
                let mut event = |kind| {
                    let (biz_id, record) = cast.record(kind, &course.sender.instance_id);
                    course.event(kind, &biz_id, record)
                };
                let before: Vec<Event> = before(kind).iter().map(|kind| event(*kind)).collect();
                let event = event(kind);
                if !before.is_empty() {
                    course.deliver(&before).await?;
                }
                course.deliver(&[event]).await.map(drop)
            })
        },
    )
}
