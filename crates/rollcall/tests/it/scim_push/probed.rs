//! Trying out how an application that takes SCIM wants to be spoken to.

use super::*;

use rollcall::delivery::Shared;
use rollcall::delivery::connectivity::{Depth, Report};

use crate::world::egress;

async fn probed(hub: &Hub, application: &Application) -> Report {
    let shared = Shared::for_one(hub.clone(), egress()).await.unwrap();
    connectivity::test_with(&shared, &application.id, Depth::TryingOut)
        .await
        .unwrap()
}

/// What came of a step, with the evidence.
fn step<'r>(report: &'r Report, name: &str) -> (&'static str, &'r str) {
    let step = report.steps.iter().find(|step| step.name == name);
    match &step.unwrap_or_else(|| panic!("{name}: {report:?}")).result {
        StepResult::Passed { detail } => ("passed", detail),
        StepResult::Skipped { detail } => ("skipped", detail),
        StepResult::Failed(finding) => ("failed", &finding.detail),
        StepResult::Assumed(finding) => ("assumed", &finding.detail),
    }
}

fn is_empty(app: &Scripted) -> bool {
    app.with(|script| script.provider.users.is_empty() && script.provider.groups.is_empty())
}

#[test]
fn what_works_is_found_out_proposed_and_taken_over() {
    on_both("scim_probe", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let report = probed(&hub, &application).await;
        assert!(report.passed && report.proposal.is_none(), "{report:?}");
        assert_eq!(
            step(&report, "proposal"),
            ("passed", "the settings are what works")
        );
        let (came, evidence) = step(&report, "probe-members");
        assert_eq!(came, "passed");
        assert!(evidence.contains("remove by_filter: HTTP 200"), "{evidence}");
        assert!(is_empty(&app));

        // One that takes no PATCH is spoken to by PUT, and does not find by externalId.
        app.with(|script| {
            script.takes_no_patch = true;
            script.provider.passes_over_external_ids = true;
        });
        let somebody = json!({ "id": "9", "userName": "somebody" });
        let somebody = somebody.as_object().unwrap().clone();
        app.by_hand(|users| users.insert("9".to_owned(), somebody));
        let report = probed(&hub, &application).await;
        let (came, evidence) = step(&report, "proposal");
        assert_eq!(came, "assumed");
        assert!(
            evidence.contains("users are changed by: put works, patch is set"),
            "{evidence}"
        );
        let proposal = report.proposal.clone().unwrap();
        assert_eq!((proposal.users, proposal.groups), (Update::Put, GroupUpdate::Put));
        assert!(!proposal.finds_external_ids);
        assert_eq!(app.by_hand(|users| users.len()), 1);
        let command = application::Command::Update {
            id: application.id.clone(),
            name: None,
            settings: SettingsPatch::of_profile(&proposal),
            secret: None,
        };
        hub.apply_application(Caller::system("test"), command)
            .await
            .unwrap();
        let report = probed(&hub, &application).await;
        assert_eq!(
            step(&report, "proposal"),
            ("passed", "the settings are what works")
        );
    });
}

#[test]
fn what_was_made_to_try_it_out_goes_again_or_is_named() {
    on_both("scim_probe_clean", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        // The group cannot be made.
        app.with(|script| {
            script.fates = [Fate::Fine; 7].into();
            script.fates.push_back(Fate::Status(500));
        });
        let report = probed(&hub, &application).await;
        assert!(!report.passed);
        assert_eq!(step(&report, "probe-group").0, "failed", "{report:?}");
        assert_eq!(step(&report, "probe-clean").0, "passed", "{report:?}");
        assert!(is_empty(&app));
        // Nothing can be removed.
        app.with(|script| script.keeps_all = true);
        let report = probed(&hub, &application).await;
        let (came, evidence) = step(&report, "probe-clean");
        assert_eq!(came, "failed");
        let (user, group) = app.with(|script| {
            let id = |all: &BTreeMap<String, Object>| all.keys().next().unwrap().clone();
            (id(&script.provider.users), id(&script.provider.groups))
        });
        let named = format!("Groups/{group}, Users/{user} could not be removed");
        assert!(evidence.contains(&named), "{evidence}");
        // What takes events has nothing to try out.
        let events = crate::plain::Plain::new(&hub, "Events").await.application;
        let shared = Shared::for_one(hub.clone(), egress()).await.unwrap();
        let refused = connectivity::test_with(&shared, &events.id, Depth::TryingOut).await;
        assert!(refused.is_err());
    });
}
