//! What a run begins with: units and groups for the writers, the applications, and the mirror.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command as Process;

use rollcall::application::{Application, Scope};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_protocol::EncryptionKey;
use serde_json::json;

use super::writers::{Api, Units};
use crate::programs::{self, Program, bound};
use crate::simulation::Dice;
use crate::world::{add_application, open_hub};

const WRITERS: usize = 4;

/// The applications and what they have.
pub(super) struct Applications {
    pub(super) mirror: Application,
    pub(super) forgetful: Application,
    /// The hub's id on the wire.
    instance: String,
    pub(super) narrow: Scope,
    pub(super) units: Units,
    pub(super) groups: Vec<String>,
}

impl Applications {
    /// The configuration of the mirror, which fetches the public keys from a node.
    pub(super) fn of_mirror(
        &self,
        database: &str,
        key: &str,
        listen: SocketAddr,
        node: SocketAddr,
    ) -> String {
        let id = &self.mirror.id;
        format!(
            "listen = \"{listen}\"\ndatabase = \"{database}\"\napplication_id = \"{id}\"\n\
             encryption_key = \"{key}\"\njwks_url = \"http://{node}/v2/{}/{id}/provisioning/jwks\"\n",
            self.instance,
        )
    }
}

/// Makes them, and the units and groups that writers use.
pub(super) async fn applications(
    database: &str,
    seed: u64,
    api: &Api,
    key: &EncryptionKey,
    at_mirror: SocketAddr,
    at_forgetful: SocketAddr,
) -> Applications {
    let dice = Dice::new(seed);
    let unit = |name: &str, parent: &str| {
        let body = json!({ "name": name, "parentId": parent });
        api.make(&dice, "/organizational-units", name, &body)
    };
    let (scope, other) = (unit("Scope", ROOT_UNIT), unit("Other", ROOT_UNIT));
    let movable = [unit("One", &scope), unit("Two", &other)];
    let groups: Vec<String> = (0..WRITERS)
        .map(|number| {
            let name = format!("Group {number}");
            api.make(&dice, "/groups", &name, &json!({ "name": name }))
        })
        .collect();
    let narrow = Scope {
        organizational_unit_ids: [scope.clone()].into(),
        group_ids: [groups[0].clone()].into(),
    };
    let hub: Hub = open_hub(database).await;
    let mut applications = Vec::new();
    for (name, listen, scope) in [
        ("mirror", at_mirror, narrow.clone()),
        ("forgetful", at_forgetful, Scope::everything()),
    ] {
        let url = format!("http://{listen}/events");
        applications.push(add_application(&hub, name, &url, Some(key.clone()), scope).await);
    }
    let instance = hub.instance.id.clone();
    hub.db.close().await;
    let forgetful = applications.pop().unwrap();
    Applications {
        mirror: applications.pop().unwrap(),
        forgetful,
        instance,
        narrow,
        units: Units {
            scope,
            other,
            movable,
        },
        groups,
    }
}

/// Starts the real mirror.
pub(super) fn mirror(folder: &Path, configuration: &str) -> Program {
    let file = folder.join("rollcall-mirror.toml");
    std::fs::write(&file, configuration).unwrap();
    let program = programs::mirror();
    Program::start(folder, "mirror", move || {
        let mut command = Process::new(&program);
        command.arg(&file).env("RUST_LOG", "warn");
        bound(&command, None)
    })
}
