//! What `rollcall app` reads and shows of the SCIM mode.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::application::scim::{Authentication, ProfilePatch, Scim, ScimPatch, ThresholdsPatch, stored_name};
use crate::application::{ModeName, SettingsPatch};
use crate::cli::args::ScimArgs;
use crate::cli::backend::Backend;
use crate::cli::failure::Refusal;
use crate::cli::output::{Output, listed};
use crate::secret::SecretString;

impl ScimArgs {
    /// What was named of the push parameters.
    pub(super) fn patch(&self, others: SettingsPatch) -> Result<SettingsPatch> {
        let scim = self.scim()?;
        Ok(SettingsPatch {
            mode: self.mode,
            scim: Some(scim).filter(|scim| *scim != ScimPatch::default()),
            ..others
        })
    }

    fn scim(&self) -> Result<ScimPatch> {
        let mut mapping: BTreeMap<String, Option<String>> = BTreeMap::new();
        mapping.extend(self.usual.iter().map(|target| (target.clone(), None)));
        for pair in &self.map {
            // An attribute may be chosen by a filter, in which there is no `=`.
            let Some((target, expression)) = pair.split_once('=') else {
                bail!(Refusal::wrong_use(
                    format!("--map {pair:?} has no ="),
                    "write ATTRIBUTE=EXPRESSION, such as title=customFields.title"
                ));
            };
            mapping.insert(target.trim().to_owned(), Some(expression.trim().to_owned()));
        }
        let authentication = match (&self.token_url, &self.client_id) {
            (Some(token_url), Some(client_id)) => Some(Authentication::ClientCredentials {
                token_url: token_url.clone(),
                client_id: client_id.clone(),
                method: self.secret_in.unwrap_or_default(),
                scope: self.token_scope.clone(),
            }),
            _ => self.bearer_token.then_some(Authentication::BearerToken),
        };
        let actions = self.actions.as_ref();
        Ok(ScimPatch {
            authentication,
            actions: actions.map(|actions| actions.iter().copied().collect()),
            groups: self.push_groups,
            leavers: self.leavers,
            preset: self.preset,
            mapping,
            profile: ProfilePatch {
                users: self.users_by,
                groups: self.groups_by,
                removal: self.removal,
                paths: self.paths,
                members_at_once: self.members_at_once,
                finds_external_ids: self.finds_external_ids,
                etags: self.etags,
                page_size: self.page_size,
                rate: self.rate,
            },
            thresholds: ThresholdsPatch {
                leaving: self.repair_leaving,
                leaving_percent: self.repair_leaving_percent,
                member_removals: self.repair_member_removals,
                emptied_groups: self.repair_emptied_groups,
            },
        })
    }

    /// The secret, from its file.
    pub(super) fn secret(&self) -> Result<Option<SecretString>> {
        let Some(path) = &self.secret_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the secret file {} cannot be read", path.display()))?;
        Ok(Some(text.trim().to_owned().into()))
    }
}

/// How wide the column of the attributes is.
const TARGETS: usize = 34;

/// The parameters of SCIM, line by line.
pub(super) fn lines_of(scim: &Scim, has_secret: bool) -> String {
    let authentication = match &scim.authentication {
        Authentication::BearerToken => "bearer token".to_owned(),
        Authentication::ClientCredentials {
            token_url, client_id, ..
        } => format!("client credentials of {client_id} at {token_url}"),
    };
    let secret = if has_secret { "stored" } else { "MISSING" };
    let actions = scim.actions.iter().map(|action| <&str>::from(*action).to_owned());
    let (profile, thresholds) = (&scim.profile, &scim.thresholds);
    let rate = match profile.rate {
        None => "as fast as it answers".to_owned(),
        Some(rate) => format!("at most {} requests in {} s", rate.requests, rate.seconds),
    };
    let yes = |is: bool| if is { "yes" } else { "no" };
    let mut text = format!(
        "credentials   {authentication}, secret {secret}\nactions       {}\ngroups        {}\nleavers       {}\n\
         preset        {}\nprofile       users by {}, groups by {}, removal {}, paths {}, {} members at once, \
         external ids {}, etags {}, pages of {}, {rate}\nrepairs       confirmed if they disable or delete more than {} or {} % \
         of the users, take more than {} out of groups, or leave more than {} groups empty\nmapping\n",
        listed(&actions.collect::<Vec<_>>()),
        if scim.groups { "pushed" } else { "not pushed" },
        <&str>::from(scim.leavers),
        scim.preset.as_str(),
        stored_name(&profile.users),
        stored_name(&profile.groups),
        stored_name(&profile.removal),
        yes(profile.paths),
        profile.members_at_once,
        yes(profile.finds_external_ids),
        yes(profile.etags),
        profile.page_size,
        thresholds.leaving,
        thresholds.leaving_percent,
        thresholds.member_removals,
        thresholds.emptied_groups,
    );
    for (target, expression) in scim.effective_mapping() {
        // The attributes of extensions are longer than the column: their expressions begin a line of their own.
        match target.len() > TARGETS {
            true => text.push_str(&format!("    {target}\n    {:TARGETS$} {expression}\n", "")),
            false => text.push_str(&format!("    {target:<TARGETS$} {expression}\n")),
        }
    }
    text
}

pub(super) async fn preview(
    backend: &Backend,
    out: &Output,
    app: &str,
    users: Vec<String>,
    url: Option<String>,
    args: &ScimArgs,
) -> Result<ExitCode> {
    let mode = args.mode.or_else(|| url.as_ref().map(|_| ModeName::Scim));
    let settings = SettingsPatch {
        url,
        mode,
        ..args.patch(SettingsPatch::default())?
    };
    let previewed = backend.preview(app, settings, users).await?;
    out.show(&previewed, || {
        let lines = previewed.iter().map(|one| {
            let body = match (&one.resource, &one.refusal) {
                (Some(resource), _) => serde_json::to_string_pretty(resource).unwrap_or_default(),
                (None, refusal) => format!("CANNOT BE MAPPED: {}", refusal.as_deref().unwrap_or_default()),
            };
            let outside = if one.in_scope { "" } else { ", not in scope" };
            format!("{} ({}{outside})\n{body}\n", one.username, one.user_id)
        });
        lines.collect()
    });
    Ok(ExitCode::SUCCESS)
}
