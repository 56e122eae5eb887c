//! OpenLDAP loads what is exported, with its schema checked, and what it writes is imported without a difference.
//! Only its programs for files are used; no server runs.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use rollcall::directory::{Command, NewGroup, NewUnit};
use rollcall::id::ROOT_UNIT;
use rollcall::import::{Dn, Format, Options};

use crate::import::{Place, on_each};
use crate::import_again::run_twice;

/// `slapadd` and `slapcat`, or why the test does not run.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")];
    let find = |name: &str| {
        std::env::split_paths(&path)
            .chain(sbin.iter().cloned())
            .map(|folder| folder.join(name))
            .find(|program| program.is_file())
    };
    let found = find("slapadd").zip(find("slapcat"));
    if found.is_none() {
        rollcall_db::testing::did_not_run("slapd", "slapadd and slapcat are not installed");
    }
    found
}

fn configuration(folder: &Path) -> PathBuf {
    let schemas = [
        "/etc/ldap/schema",
        "/etc/openldap/schema",
        "/usr/local/etc/openldap/schema",
    ];
    let schemas = schemas
        .into_iter()
        .find(|it| Path::new(it).is_dir())
        .expect("OpenLDAP's schemas");
    let mut text = String::new();
    for schema in ["core", "cosine", "inetorgperson"] {
        text.push_str(&format!("include {schemas}/{schema}.schema\n"));
    }
    // What Debian's OpenLDAP has in modules, others may have built in.
    if Path::new("/usr/lib/ldap").is_dir() {
        text.push_str("modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload ppolicy\n");
    }
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    text.push_str(&format!(
        "database mdb\nsuffix \"dc=example,dc=org\"\ndirectory {}\n",
        data.display()
    ));
    let file = folder.join("slapd.conf");
    std::fs::write(&file, text).unwrap();
    file
}

fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Process::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Fills the directory with what is awkward to export.
async fn fill(place: &Place) {
    let text = "username,display_name,path,further_paths,email,phone,description,external_id,groups,status\n\
                ada,Ada Lovelace née Byron,Engineering/Optics,Sales,ada@example.org,+44 20 7946 0958,one,\
                0a1b2c3d-0001-4000-8000-000000000001,Staff,enabled\n\
                bob,Bob,\"R\\/D, Lasers + more\",,,,,personnel number 7,\"Staff;A, B\",disabled\n\
                root.user,At the root,,,,,,,,\n";
    assert_eq!(place.import("people.csv", text).await.errors, []);
    let unit = NewUnit {
        name: "Empty \"unit\"".into(),
        parent_id: ROOT_UNIT.into(),
        description: Some("two\nlines".into()),
        external_id: Some("0a1b2c3d-0002-4000-8000-000000000001".into()),
        ..NewUnit::default()
    };
    let group = NewGroup {
        name: "Nobody".into(),
        external_id: Some("0a1b2c3d-0003-4000-8000-000000000001".into()),
        ..NewGroup::default()
    };
    for command in [Command::CreateUnit(unit), Command::CreateGroup(group)] {
        place
            .hub
            .apply(rollcall::access::Caller::system("test"), command)
            .await
            .unwrap();
    }
}

#[test]
fn openldap_loads_the_export_and_its_own_is_imported_without_a_difference() {
    let Some((slapadd, slapcat)) = programs() else {
        return;
    };
    on_each("slapd", |place| {
        let (slapadd, slapcat) = (slapadd.clone(), slapcat.clone());
        async move {
            fill(&place).await;
            let exported = place.file("export.ldif", &place.export(Format::Ldif).await);
            let folder = place.folder.path().to_owned();
            let configuration = configuration(&folder);
            let configuration = configuration.to_str().unwrap();
            run(&slapadd, &["-f", configuration, "-l", exported.to_str().unwrap()]);
            let text = run(&slapcat, &["-f", configuration, "-o", "ldif-wrap=no"]);
            assert!(
                text.contains("entryUUID: 0a1b2c3d-0003-4000-8000-000000000001"),
                "{text}"
            );
            let head = place.head().await;
            for (name, text) in [
                ("slapcat.ldif", text),
                ("export.ldif", place.export(Format::Ldif).await),
            ] {
                let report = place.import(name, &text).await;
                assert_eq!((&report.errors, &report.notes), (&vec![], &vec![]), "{name}");
                assert_eq!(
                    (report.users.unchanged, report.groups.unchanged),
                    (3, 3),
                    "{name}"
                );
                assert_eq!(place.head().await, head, "{name} makes a difference");
            }
        }
    });
}

#[test]
fn what_other_servers_wrote_is_exported_and_imported_again_without_a_difference() {
    on_each("export_again", |place| async move {
        let text = include_str!("data/active-directory.ldif");
        let options = Options {
            base: Some(Dn::parse("OU=Corp,DC=example,DC=com").unwrap()),
            owner: Some("ad:example".parse().unwrap()),
            ..Options::of(place.file("ad.ldif", text), Format::Ldif)
        };
        run_twice(&place, options.clone()).await;
        for text in [
            include_str!("data/openldap.ldif"),
            include_str!("data/freeipa.ldif"),
        ] {
            let file = place.file("more.ldif", text);
            run_twice(&place, Options::of(file, Format::Ldif)).await;
        }
        let head = place.head().await;
        let exported = place.export(Format::Ldif).await;
        let report = place.import("export.ldif", &exported).await;
        assert_eq!((&report.errors, &report.notes), (&vec![], &vec![]));
        assert_eq!(place.head().await, head);
    });
}
