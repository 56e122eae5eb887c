//! What holds for all texts and times.

use proptest::prelude::*;
use rollcall_protocol::{
    Event, EventBatch, GroupPayload, InventoryKind, InventoryPayload, Opener, SealParams, UnitMembership,
    UnitPayload, UserPayload, seal,
};

use crate::{APP, Counting, NOW, encryption_key, key, keys, sealed};

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(any::<String>())
}

prop_compose! {
    fn user()(
        id in "user_[a-z0-9]{1,8}", name in text(), display in text(), description in text(),
        time in proptest::option::of(any::<i64>()), flag in proptest::option::of(any::<bool>()),
        units in proptest::collection::vec(("ou_[a-z]{1,4}", text(), any::<bool>()), 0..3),
    ) -> UserPayload {
        let units: Vec<_> =
            units.into_iter().map(|(id, name, primary)| UnitMembership { id, name, primary }).collect();
        UserPayload {
            user_id: id, username: name, display_name: display, description, update_time: time,
            password_set: flag, primary_unit_id: units.iter().find(|u| u.primary).map(|u| u.id.clone()),
            units, ..UserPayload::default()
        }
    }
}

proptest! {
    #[test]
    fn records_survive_the_way(
        user in user(), id in "[a-z]{1,9}", name in text(), users in proptest::collection::vec(any::<String>(), 0..4)
    ) {
        prop_assert_eq!(&UserPayload::from_json(&user.to_json()).unwrap(), &user);
        let unit = UnitPayload { unit_id: id.clone(), name: name.clone(), ..UnitPayload::default() };
        prop_assert_eq!(&UnitPayload::from_json(&unit.to_json()).unwrap(), &unit);
        let group = GroupPayload { group_id: id, name, user_ids: Some(users), ..GroupPayload::default() };
        prop_assert_eq!(&GroupPayload::from_json(&group.to_json()).unwrap(), &group);
    }

    #[test]
    fn inventories_survive_the_way(
        kind in proptest::sample::select(InventoryKind::ALL.to_vec()), after in any::<String>(),
        through in text(), ids in proptest::collection::vec(any::<String>(), 0..6)
    ) {
        let group_id = (kind == InventoryKind::GroupMember).then(|| "group_1".to_owned());
        let mut inventory = InventoryPayload { kind, group_id, after, through, ids: Vec::new() };
        inventory.ids = ids.into_iter().filter(|id| inventory.covers(id)).collect();
        prop_assert_eq!(&InventoryPayload::from_json(&inventory.to_json()).unwrap(), &inventory);
    }

    #[test]
    fn batches_survive_the_way(
        texts in proptest::collection::vec((".{1,40}", any::<String>(), any::<i64>()), 0..4),
        uid in "[0-9]{1,18}", encrypt in any::<bool>()
    ) {
        let events = texts.into_iter().map(|(id, data, time)| Event {
            event_id: id.clone(), event_type: id.clone(), event_time: time, biz_id: id,
            biz_data: serde_json::json!({ "text": data }).to_string(),
        }).collect();
        let batch = EventBatch { instance_id: "i".into(), event_version: "V1.0".into(), ali_uid: uid, events };
        prop_assert_eq!(&EventBatch::from_json(&batch.to_json()).unwrap(), &batch);
        let (signing, secret, keys) = (key(), encryption_key(), keys());
        let encryption = encrypt.then_some(&secret);
        let params = SealParams {
            key: &signing, instance_id: "i", application_id: APP, encryption, now_ms: NOW, random: &Counting,
        };
        let opener = Opener { decryption: Some(&secret), ..Opener::new(&keys, APP) };
        let opened = opener.open(seal(&batch, &params).unwrap().body.as_bytes(), NOW).unwrap();
        prop_assert_eq!(opened.batch, batch);
    }

    #[test]
    fn nothing_altered_is_believed(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let body = sealed(Some(&encryption_key())).into_bytes();
        let (secret, keys) = (encryption_key(), keys());
        let opener = Opener { decryption: Some(&secret), ..Opener::new(&keys, APP) };
        let mut altered = body.clone();
        let position = position.index(body.len());
        altered[position] = byte;
        if let Ok(opened) = opener.open(&altered, NOW) {
            // Only what means the same may be believed.
            prop_assert_eq!(opened, opener.open(&body, NOW).unwrap());
        }
    }

    #[test]
    fn garbage_is_refused_and_not_stumbled_over(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Opener::new(&keys(), APP).open(&body, NOW).is_err());
    }
}
