//! What one application writes arrives at the others that are entitled to it, in their own copies.

use rollcall::application::Scope;
use rollcall::id::ROOT_UNIT;
use serde_json::json;

use super::Developer;
use crate::access::on_each;
use crate::plain::{Plain, deliver, settled};
use crate::two_doors::{make, unit};
use crate::world::hasty;

#[test]
fn what_an_application_writes_is_pushed_to_all_that_are_entitled_to_it() {
    on_each("developer_story", |site| async move {
        let sales = make(&site.hub, unit("Sales", ROOT_UNIT)).await;
        let other = make(&site.hub, unit("Other", ROOT_UNIT)).await;
        let of_sales = Scope {
            organizational_unit_ids: [sales.clone()].into(),
            ..Scope::default()
        };
        let mail = Plain::with_scope(&site.hub, "Mail", of_sales).await;
        let hr = Developer::of(&site, "HR", Scope::everything()).await;
        let delivery = deliver(&site.hub, hasty()).await;
        let new = json!({ "username": "ada", "displayName": "Ada", "primaryOrganizationalUnitId": sales });
        let ada = hr.make("/users", new, "userId").await;
        let hidden = json!({ "username": "eve", "primaryOrganizationalUnitId": other });
        let eve = hr.make("/users", hidden, "userId").await;
        let renamed = json!({ "displayName": "Ada L." });
        assert_eq!(
            hr.call("PATCH", &format!("/users/{ada}"), renamed).await.status,
            200
        );
        let moved = json!({ "organizationalUnitId": sales });
        let path = format!("/users/{eve}/actions/setUserPrimaryOrganizationalUnit");
        assert_eq!(hr.call("POST", &path, moved).await.status, 200);
        assert_eq!(
            hr.call("DELETE", &format!("/users/{ada}"), json!({}))
                .await
                .status,
            200
        );
        settled(&site.hub, &mail.application).await;
        let told: Vec<(String, String)> = mail
            .applied()
            .iter()
            .map(|event| {
                let kind = event.event_type.rsplit(':').next().unwrap_or_default();
                (kind.to_owned(), event.biz_id.clone())
            })
            .collect();
        let expected = [
            ("create", &ada),
            ("update_info", &ada),
            ("create", &eve),
            ("delete", &ada),
        ];
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(kind, id)| ((*kind).to_owned(), (*id).clone()))
            .collect();
        assert_eq!(told, expected);
        delivery.stop().await;
    });
}
