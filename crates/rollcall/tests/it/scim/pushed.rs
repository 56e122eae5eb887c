//! What comes over SCIM goes on to the applications.

use rollcall::access::Origin;
use rollcall::application::Scope;
use rollcall::scim::{Expected, Kind, Provider};
use serde_json::{Value, json};

use super::connect;
use crate::world::{World, on_both};

#[test]
fn what_a_connection_makes_changes_and_takes_away_arrives_at_applications() {
    on_both("scim_pushed", |database, mirror| async move {
        let mut world = World::new(&database, &mirror, Scope::everything()).await;
        world.synchronize().await;
        let (connection, _) = connect(&world.hub, "Okta", &Value::Null).await;
        let address = format!("http://hub.example/scim/v2/{}", connection.id);
        let provider = Provider::new(world.hub.clone(), connection, Origin::Internal, &address);
        let user = |name: &str| json!({ "userName": name, "displayName": name, "active": true });
        let made = provider.create(Kind::User, user("ada")).await.unwrap();
        let ada = made["id"].as_str().unwrap().to_owned();
        let bob = provider.create(Kind::User, user("bob")).await.unwrap();
        let bob = bob["id"].as_str().unwrap().to_owned();
        let staff = json!({ "displayName": "Staff", "members": [{ "value": ada }, { "value": bob }] });
        provider.create(Kind::Group, staff).await.unwrap();
        world.converged().await;
        let left = json!({ "Operations": [{ "op": "replace", "value": { "active": false } }] });
        provider
            .patch(Kind::User, ada.clone(), left, Expected::Any)
            .await
            .unwrap();
        provider
            .delete(Kind::User, bob.clone(), Expected::Any)
            .await
            .unwrap();
        world.converged().await;
        let story = world.endpoint.story_of(&ada);
        assert_eq!(story, ["ud:user:create", "ud:user:disable"], "{story:?}");
        let story = world.endpoint.story_of(&bob);
        assert_eq!(story, ["ud:user:create", "ud:user:delete"], "{story:?}");
        world.stop().await;
    });
}
