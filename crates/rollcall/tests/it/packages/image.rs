//! The container image, of `contrib/container/Containerfile`: loaded, and started where it reaches nobody.

use std::path::Path;
use std::process::{Command, Stdio};

use rollcall_db::testing::did_not_run;

use super::machine::wait_for;
use super::{done, is_root, made, text, with_musl};

/// What the tests call it.
const NAME: &str = "container image";

/// Buildah with images of the test's own.
fn buildah(folder: &Path) -> Command {
    let mut command = Command::new("buildah");
    command.arg("--root").arg(folder.join("images"));
    command.arg("--runroot").arg(folder.join("running"));
    command.args(["--storage-driver", "vfs"]);
    command
}

#[test]
fn the_hub_runs_in_a_container_as_nobody() {
    if with_musl(NAME).is_none() {
        return;
    }
    if !is_root() {
        did_not_run(NAME, "it is started by root alone");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(archive) = made("image", NAME, folder.path()) else {
        return;
    };
    let from = format!("docker-archive:{}", archive.display());
    let container = done(buildah(folder.path()).args(["from", "--quiet", &from]));
    let container = container.trim();
    let described = done(buildah(folder.path()).args(["inspect", container]));
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    let config = &described["OCIv1"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(
        config["Entrypoint"],
        serde_json::json!(["/usr/local/bin/rollcall"])
    );
    assert_eq!(config["Cmd"], serde_json::json!(["serve"]));
    assert!(config["Volumes"]["/var/lib/rollcall"].is_object(), "{config}");

    // Its network has nobody in it but itself.
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-euc", script, "sh"]);
        let buildah = buildah(folder.path());
        command.arg(buildah.get_program()).args(buildah.get_args());
        command.args([
            "run",
            "--isolation",
            "chroot",
            container,
            "--",
            "/usr/local/bin/rollcall",
        ]);
        command
    };
    let tested = inside("ip link set lo up; \"$@\" self-test").output().unwrap();
    assert!(
        tested.status.success() && text(&tested).contains("this machine can run a hub"),
        "{}",
        text(&tested)
    );
    // A hub that answers, and commands beside it. Buildah kills what runs in it when it is told to end.
    let script = "ip link set lo up
        \"$@\" serve & hub=$!
        bash -c 'until exec 3<>/dev/tcp/127.0.0.1/8750; do sleep 0.2; done 2>/dev/null
            printf \"GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n\" >&3; head -1 <&3'
        \"$@\" user create ada --display-name Ada
        \"$@\" user list
        kill -TERM $hub
        wait $hub || true";
    let mut command = inside(script);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = wait_for("the hub in a container", || child.try_wait().unwrap());
    let told = text(&child.wait_with_output().unwrap());
    assert!(ended.success(), "{told}");
    assert!(told.contains("HTTP/1.1 200 OK") && told.contains("ada"), "{told}");
}
