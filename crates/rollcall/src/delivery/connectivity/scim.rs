//! The test of an application that takes SCIM: it is asked what it can do, and for a user and a group whom nobody has.
//! Nothing is made there.

use std::fmt;
use std::time::Duration;

use rollcall_scim::client::{Call, GroupUpdate, Update};
use serde_json::Value as Json;

use super::finding::{self, Finding};
use super::{Ended, Report, StepResult, failed};
use crate::application::scim::Scim;
use crate::delivery::egress::failure::Failure;
use crate::delivery::route::scim::Provider;
use crate::delivery::shared::Shared;
use crate::id;

/// What a service provider says of itself (RFC 7643, section 5). What it does not say is not known.
#[derive(Debug, Default)]
struct Said {
    patch: Option<bool>,
    filter: Option<bool>,
    most_results: Option<u32>,
    etag: Option<bool>,
}

impl Said {
    fn of(document: &Json) -> Self {
        let supports = |what: &str| document[what]["supported"].as_bool();
        let most = document["filter"]["maxResults"].as_u64();
        Self {
            patch: supports("patch"),
            filter: supports("filter"),
            most_results: most.and_then(|most| u32::try_from(most).ok()),
            etag: supports("etag"),
        }
    }

    /// In what it differs from how the application is spoken to, and by which options that is set right.
    fn differences(&self, scim: &Scim) -> Vec<(String, String)> {
        let profile = &scim.profile;
        let mut found = Vec::new();
        let mut add = |differs: bool, what: &str, option: &str| {
            if differs {
                found.push((what.to_owned(), option.to_owned()));
            }
        };
        let no = Some(false);
        add(
            self.patch == no && profile.users == Update::Patch,
            "it takes no PATCH, and users are changed by PATCH",
            "--users-by put",
        );
        add(
            self.patch == no && scim.groups && profile.groups != GroupUpdate::Put,
            "it takes no PATCH, and groups are changed by PATCH",
            "--groups-by put",
        );
        add(
            self.filter == no && profile.finds_external_ids,
            "it finds nothing by filters, and users are looked for by externalId",
            "--finds-external-ids false",
        );
        add(
            self.etag == no && profile.etags,
            "it has no versions, and changes name them",
            "--etags false",
        );
        if let Some(most) = self
            .most_results
            .filter(|most| (1..profile.page_size).contains(most))
        {
            add(
                true,
                &format!(
                    "a page has {most} resources at most, and {} are asked for",
                    profile.page_size
                ),
                &format!("--page-size {most}"),
            );
        }
        found
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |is: Option<bool>| match is {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not said",
        };
        write!(
            f,
            "PATCH: {}, filters: {}, versions: {}",
            said(self.patch),
            said(self.filter),
            said(self.etag)
        )?;
        match self.most_results {
            Some(most) => write!(f, ", at most {most} results"),
            None => Ok(()),
        }
    }
}

/// Asks the application, step by step.
pub(super) async fn ask(
    shared: &Shared,
    provider: &Provider,
    name: &str,
    report: &mut Report,
) -> Result<(), Ended> {
    let scim = provider.parameters();
    let said = discover(shared, provider, report).await?;
    // An id that nobody has.
    let nobody = id::make("nobody", shared.hub.clock.now(), &*shared.hub.random);
    let named = |attribute: &str| {
        let filter = format!("{attribute} eq \"{nobody}\"");
        vec![("filter", filter), ("count", "1".to_owned())]
    };
    search(
        shared,
        provider,
        report,
        "users",
        Call::get("Users", named("userName")),
    )
    .await?;
    if scim.groups {
        let call = Call::get("Groups", named("displayName"));
        search(shared, provider, report, "groups", call).await?;
    } else {
        let detail = "groups are not told to this application".to_owned();
        report.add("groups", Duration::ZERO, StepResult::Skipped { detail });
    }
    let Some(said) = said else { return Ok(()) };
    let differences = said.differences(scim);
    match differences.as_slice() {
        [] => report.pass(
            "profile",
            Duration::ZERO,
            "fits what the application says of itself",
        ),
        different => {
            let finding = finding::profile_differs(name, different);
            report.add("profile", Duration::ZERO, StepResult::Assumed(finding));
        }
    }
    Ok(())
}

/// What the application says of itself. Not every one does, and some want no token for it, so that nothing is wrong yet
/// where it does not.
async fn discover(shared: &Shared, provider: &Provider, report: &mut Report) -> Result<Option<Said>, Ended> {
    let watch = shared.hub.clock.stopwatch();
    let answer = provider
        .ask(shared, &Call::get("ServiceProviderConfig", Vec::new()))
        .await;
    let answer =
        answer.map_err(|failure| failed("discover", watch, finding::unasked(provider.url(), &failure)))?;
    let document = answer.reply.body.filter(Json::is_object);
    let (said, result) = match (answer.failure, document) {
        (None, Some(document)) => {
            let said = Said::of(&document);
            let detail = said.to_string();
            (Some(said), StepResult::Passed { detail })
        }
        (None, None) => {
            let detail = "the answer is no ServiceProviderConfig".to_owned();
            (None, StepResult::Skipped { detail })
        }
        (Some(failure), _) => {
            let detail = format!("it does not say: {failure}");
            (None, StepResult::Skipped { detail })
        }
    };
    report.add("discover", watch.elapsed(), result);
    Ok(said)
}

async fn search(
    shared: &Shared,
    provider: &Provider,
    report: &mut Report,
    step: &'static str,
    call: Call,
) -> Result<(), Ended> {
    let watch = shared.hub.clock.stopwatch();
    let refuse = |finding: Finding| Err(failed(step, watch, finding));
    let answer = match provider.ask(shared, &call).await {
        Ok(answer) => answer,
        Err(failure) => return refuse(finding::unasked(provider.url(), &failure)),
    };
    if let Some(failure) = answer.failure {
        return refuse(match (step, &failure) {
            (
                "groups",
                Failure::Status {
                    status: 404 | 405 | 501,
                    ..
                },
            ) => finding::no_groups(&failure),
            _ => finding::unasked(provider.url(), &failure),
        });
    }
    let body = answer.reply.body.unwrap_or_default();
    match body["totalResults"].as_u64() {
        Some(0) => report.pass(
            step,
            watch.elapsed(),
            "HTTP 200, and nobody is found whom nobody has",
        ),
        Some(found) => {
            let detail = format!("HTTP 200, but {found} are found of whom nobody has the name");
            report.add(
                step,
                watch.elapsed(),
                StepResult::Assumed(finding::passes_over_filters(detail)),
            );
        }
        None => return refuse(finding::no_list()),
    }
    Ok(())
}
