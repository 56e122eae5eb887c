//! What can be wrong with a run.

use std::cell::RefCell;
use std::sync::Once;

/// A kind of failure. A shorter history is one of the same failure only if it fails in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Unsettled,
    NotDurable,
    Position,
    Unanswered,
    Epoch,
    Key,
    Order,
    Content,
    Different,
    OutOfScope,
    Password,
    Erased,
    /// With the place in the sources.
    Panic(String),
}

/// Something that is wrong.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) what: What,
    /// For people.
    pub(super) told: String,
}

pub(super) type Checked = Result<(), Wrong>;

pub(super) fn must(holds: bool, what: What, told: impl FnOnce() -> String) -> Checked {
    if holds {
        return Ok(());
    }
    Err(Wrong { what, told: told() })
}

thread_local! {
    /// The panics on this thread that nobody has asked for yet, also of tasks of the product, which the runtime
    /// catches.
    static PANICS: RefCell<Vec<Wrong>> = const { RefCell::new(Vec::new()) };
}

/// From now on panics are remembered, besides what else is done about them.
pub(super) fn watch_for_panics() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let wrong = Wrong {
                what: What::Panic(place),
                told: info.to_string(),
            };
            PANICS.with_borrow_mut(|panics| panics.push(wrong));
            before(info);
        }));
    });
}

/// The first panic on this thread since the last time; the others are forgotten.
pub(super) fn panicked() -> Option<Wrong> {
    PANICS.take().into_iter().next()
}

#[test]
fn a_panic_in_a_task_is_noticed() {
    watch_for_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { drop(tokio::spawn(async { panic!("on purpose") }).await) });
    let wrong = panicked().unwrap();
    assert!(wrong.told.contains("on purpose"), "{}", wrong.told);
    assert!(matches!(wrong.what, What::Panic(place) if place.contains("wrong.rs")));
    assert!(panicked().is_none());
}
