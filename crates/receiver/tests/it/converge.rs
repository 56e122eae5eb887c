//! Whatever the order in which a history arrives, and however often, the mirror ends up the same.

use proptest::prelude::*;
use rollcall_receiver::protocol::{GroupPayload, InventoryKind, InventoryPayload, UnitPayload};
use rollcall_receiver::{Mirror, Outcome, Snapshot};

use super::*;

/// One thing that happens to one of a few users, units or groups.
#[derive(Clone, Debug)]
enum Happening {
    User(EventType, u8, u8),
    Unit(EventType, u8, u8),
    Group(EventType, u8, u8),
    Members(EventType, u8, Vec<u8>),
    /// The kind, the group, where the range begins and ends, and who is in it. Not what is true: a hub may
    /// have lost its history.
    Inventory(InventoryKind, u8, Option<u8>, Option<u8>, Vec<u8>),
}

fn happening() -> impl Strategy<Value = Happening> {
    use EventType as T;
    let id = 0..3_u8;
    let users = [
        T::UserCreate,
        T::UserUpdateInfo,
        T::UserDelete,
        T::UserDisable,
        T::UserPush,
        T::UserUpdatePrimaryOu,
    ];
    let units = [
        T::UnitCreate,
        T::UnitUpdate,
        T::UnitUpdateParent,
        T::UnitDelete,
        T::UnitPush,
    ];
    let groups = [T::GroupCreate, T::GroupUpdate, T::GroupDelete];
    let members = prop::collection::vec(0..3_u8, 1..3);
    prop_oneof![
        3 => (prop::sample::select(users.to_vec()), id.clone(), 0..4_u8)
            .prop_map(|(kind, id, content)| Happening::User(kind, id, content)),
        1 => (prop::sample::select(units.to_vec()), id.clone(), 0..4_u8)
            .prop_map(|(kind, id, content)| Happening::Unit(kind, id, content)),
        2 => (prop::sample::select(groups.to_vec()), 0..2_u8, 0..4_u8)
            .prop_map(|(kind, id, content)| Happening::Group(kind, id, content)),
        3 => (prop::sample::select(vec![T::GroupAddUser, T::GroupRemoveUser]), 0..2_u8, members)
            .prop_map(|(kind, id, users)| Happening::Members(kind, id, users)),
        3 => (
            prop::sample::select(InventoryKind::ALL.to_vec()),
            0..2_u8,
            prop::option::of(0..3_u8),
            prop::option::of(0..3_u8),
            prop::collection::vec(0..3_u8, 0..3),
        )
            .prop_map(|(kind, group, after, through, ids)| {
                Happening::Inventory(kind, group, after, through, ids)
            }),
    ]
}

fn as_event(number: usize, happening: &Happening) -> Event {
    let time = 1_000 + i64::try_from(number).unwrap();
    let (kind, subject, data) = match happening {
        Happening::User(kind, id, content) => {
            let id = format!("user_{id}");
            let mut record = user(&id, &format!("name{content}"));
            record.email = (content % 2 == 0).then(|| format!("{content}@example.com"));
            record.units[0].id = format!("ou_{content}");
            record.primary_unit_id = Some(format!("ou_{content}"));
            (*kind, id, record.to_json())
        }
        Happening::Unit(kind, id, content) => {
            let id = format!("ou_{id}");
            let record = UnitPayload {
                unit_id: id.clone(),
                name: Some(format!("unit{content}")),
                parent_id: Some("ou_root".to_owned()),
                ..UnitPayload::default()
            };
            (*kind, id, record.to_json())
        }
        Happening::Group(kind, id, content) => {
            let id = format!("group_{id}");
            let record = GroupPayload {
                group_id: id.clone(),
                name: Some(format!("group{content}")),
                ..GroupPayload::default()
            };
            (*kind, id, record.to_json())
        }
        Happening::Members(kind, id, users) => {
            let id = format!("group_{id}");
            let record = GroupPayload {
                group_id: id.clone(),
                user_ids: Some(users.iter().map(|user| format!("user_{user}")).collect()),
                ..GroupPayload::default()
            };
            (*kind, id, record.to_json())
        }
        Happening::Inventory(kind, group, after, through, ids) => {
            let prefix = match kind {
                InventoryKind::User | InventoryKind::GroupMember => "user",
                InventoryKind::Unit => "ou",
                InventoryKind::Group => "group",
            };
            let id = |number: &u8| format!("{prefix}_{number}");
            let mut record = InventoryPayload {
                kind: *kind,
                group_id: (*kind == InventoryKind::GroupMember).then(|| format!("group_{group}")),
                after: after.as_ref().map(id).unwrap_or_default(),
                through: through.as_ref().map(id),
                ids: Vec::new(),
            };
            record.ids = ids.iter().map(id).filter(|id| record.covers(id)).collect();
            (EventType::Inventory, String::new(), record.to_json())
        }
    };
    event(&number.to_string(), kind, time, &subject, data)
}

/// The snapshot after these requests. Those that are `broken` come with records that
/// nobody can read first, and mended under the same ids.
fn deliver(runtime: &tokio::runtime::Runtime, requests: &[Vec<Event>], broken: &[bool]) -> Snapshot {
    runtime.block_on(async {
        let database = rollcall_db::testing::sqlite();
        let mirror = Mirror::open(&database.url).await.unwrap();
        for (request, broken) in requests.iter().zip(broken.iter().cycle()) {
            if *broken {
                let torn = request.iter().map(|event| Event {
                    biz_data: "{\"torn".to_owned(),
                    ..event.clone()
                });
                let outcomes = mirror.process(torn.collect(), NOW).await.unwrap();
                for (event, outcome) in request.iter().zip(outcomes) {
                    let known = matches!(outcome, Outcome::Success(_));
                    assert!(
                        known || matches!(outcome, Outcome::Failed { .. }),
                        "{event:?} {outcome:?}"
                    );
                }
            }
            mirror.process(request.clone(), NOW).await.unwrap();
        }
        let snapshot = mirror.snapshot().await.unwrap();
        mirror.close().await;
        snapshot
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_order_and_any_repetition_leads_to_the_same_directory(
        (history, arrivals) in prop::collection::vec(happening(), 1..24).prop_flat_map(|history| {
            let numbers: Vec<usize> = (0..history.len()).collect();
            let again = prop::collection::vec(0..history.len(), 0..12);
            let order = again.prop_flat_map(move |again| {
                let all: Vec<usize> = numbers.iter().copied().chain(again).collect();
                Just(all).prop_shuffle()
            });
            (Just(history), order)
        }),
        size in 1..6_usize,
        broken in prop::collection::vec(any::<bool>(), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let events: Vec<Event> = history.iter().enumerate().map(|(n, it)| as_event(n, it)).collect();
        let expected = deliver(&runtime, std::slice::from_ref(&events), &[false]);
        let arrived: Vec<Event> = arrivals.iter().map(|number| events[*number].clone()).collect();
        let requests: Vec<Vec<Event>> = arrived.chunks(size).map(<[Event]>::to_vec).collect();
        let actual = deliver(&runtime, &requests, &broken);
        prop_assert_eq!(expected.differences(&actual), Vec::<String>::new());
    }
}
