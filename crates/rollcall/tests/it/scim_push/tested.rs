//! *Test Connectivity* of an application that takes SCIM.

use super::*;

/// The steps of a test of the connection, each with what came of it, and what the last one says.
pub(super) async fn tested(
    delivery: &Delivery,
    application: &Application,
) -> (Vec<(String, &'static str)>, String) {
    let report = connectivity::test(delivery.shared(), &application.id)
        .await
        .unwrap();
    let steps = report.steps.iter().map(|step| {
        let came = match &step.result {
            StepResult::Passed { .. } => "passed",
            StepResult::Failed(_) => "failed",
            StepResult::Assumed(_) => "assumed",
            StepResult::Skipped { .. } => "skipped",
        };
        (step.name.to_string(), came)
    });
    let last = match &report.steps.last().unwrap().result {
        StepResult::Passed { detail } | StepResult::Skipped { detail } => detail.clone(),
        StepResult::Failed(finding) | StepResult::Assumed(finding) => {
            format!("{:?}: {}; {}", finding.code, finding.detail, finding.advice)
        }
    };
    let steps: Vec<_> = steps.skip(3).collect();
    assert_eq!(report.passed, steps.iter().all(|(_, came)| *came != "failed"));
    (steps, last)
}

fn steps(of: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    of.iter()
        .map(|(name, came)| ((*name).to_owned(), *came))
        .collect()
}

#[test]
fn a_test_of_the_connection_asks_and_makes_nothing() {
    on_both("scim_test", |hub, _| async move {
        let hub = open_hub(&hub).await;
        let (app, application) = add(&hub, |_| {}).await;
        let delivery = begin(&hub).await;
        let all = [("users", "passed"), ("groups", "passed")];
        // One that says nothing of itself is asked all the same.
        let (came, _) = tested(&delivery, &application).await;
        assert_eq!(came, steps(&[&[("discover", "skipped")], &all[..]].concat()));
        app.with(|script| {
            assert_eq!(script.provider.calls, ["GET Users", "GET Groups"]);
            script.says = Some(
                json!({ "patch": { "supported": true }, "filter": { "supported": true, "maxResults": 200 } }),
            );
        });
        let (came, _) = tested(&delivery, &application).await;
        let fits = [&[("discover", "passed")], &all[..], &[("profile", "passed")]].concat();
        assert_eq!(came, steps(&fits));
        // What it does not say is not held against it; what it denies is, with what to set.
        app.with(|script| {
            script.says = Some(json!({ "patch": { "supported": false }, "filter": { "maxResults": 20 } }));
        });
        let (came, last) = tested(&delivery, &application).await;
        let differs = [&[("discover", "passed")], &all[..], &[("profile", "assumed")]].concat();
        assert_eq!(came, steps(&differs));
        assert!(
            last.ends_with("--users-by put --groups-by put --page-size 20"),
            "{last}"
        );
        for (fates, ended, said) in [
            (
                vec![Fate::Status(401)],
                vec![("users", "failed")],
                "CredentialsRefused",
            ),
            (vec![Fate::Status(404)], vec![("users", "failed")], "NotFound"),
            (vec![Fate::Status(503)], vec![("users", "failed")], "Busy"),
            (vec![Fate::Busy], vec![("users", "failed")], "Busy"),
            (
                vec![Fate::Fine, Fate::Status(404)],
                vec![("users", "passed"), ("groups", "failed")],
                "GroupsMissing",
            ),
        ] {
            app.with(|script| script.fates = fates.into());
            let (came, last) = tested(&delivery, &application).await;
            assert_eq!(came, steps(&[&[("discover", "passed")], &ended[..]].concat()));
            assert!(last.starts_with(said), "{last}");
        }
        app.with(|script| {
            assert!(script.provider.users.is_empty() && script.provider.groups.is_empty());
            assert!(script.provider.calls.iter().all(|call| call.starts_with("GET ")));
        });
        delivery.stop().await;
    });
}
