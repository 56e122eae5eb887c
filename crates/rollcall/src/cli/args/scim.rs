//! What can be typed of the SCIM mode of an application.

use std::path::PathBuf;

use clap::Args;
use rollcall_scim::Removal;
use rollcall_scim::client::{GroupUpdate, Preset, Rate, Update};
use serde::de::DeserializeOwned;

use crate::application::ModeName;
use crate::application::scim::{Action, Leavers, SecretIn};

/// The section of these options in help.
pub(super) const SCIM: &str = "SCIM";

#[derive(Debug, Default, Args)]
#[command(next_help_heading = SCIM)]
pub(in crate::cli) struct ScimArgs {
    /// How changes are pushed: signed events to the receiving URL, or requests of SCIM 2.0 to the base URL. Another
    /// mode needs another --url.
    #[arg(long, value_enum)]
    pub(in crate::cli) mode: Option<ModeName>,
    /// The file with the token of the application, or with the client's secret. It is stored sealed, and never shown.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) secret_file: Option<PathBuf>,
    /// Get tokens here (OAuth 2.0, client credentials) instead of sending the secret as the token.
    #[arg(long, value_name = "URL", requires = "client_id")]
    pub(in crate::cli) token_url: Option<String>,
    /// Who the hub is at the token URL.
    #[arg(long, value_name = "ID", requires = "token_url")]
    pub(in crate::cli) client_id: Option<String>,
    /// Where the client's secret goes.
    #[arg(long, value_enum, requires = "token_url")]
    pub(in crate::cli) secret_in: Option<SecretIn>,
    /// What the tokens are for, if the token URL wants that to be said.
    #[arg(long, value_name = "SCOPE", requires = "token_url")]
    pub(in crate::cli) token_scope: Option<String>,
    /// Send the secret as the token, and get none.
    #[arg(long, conflicts_with = "token_url")]
    pub(in crate::cli) bearer_token: bool,
    /// All that is done there, with commas: create,update,delete.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(in crate::cli) actions: Option<Vec<Action>>,
    /// Whether groups are told too.
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) push_groups: Option<bool>,
    /// What becomes of users who are deleted or leave the scope.
    #[arg(long, value_enum)]
    pub(in crate::cli) leavers: Option<Leavers>,
    /// Whose ways are followed: standard, entra_gallery, slack, github, aws_identity_center or cloud_sso. The options
    /// that follow change what that says.
    #[arg(long, value_name = "NAME", value_parser = named::<Preset>)]
    pub(in crate::cli) preset: Option<Preset>,
    /// What comes into an attribute, such as 'title=customFields.title'. Repeat for several; ATTRIBUTE= sets nothing;
    /// attributes that are not named keep their expressions.
    #[arg(long, value_name = "ATTRIBUTE=EXPRESSION")]
    pub(in crate::cli) map: Vec<String>,
    /// Go back to the usual expression of an attribute. Repeat for several.
    #[arg(long, value_name = "ATTRIBUTE")]
    pub(in crate::cli) usual: Vec<String>,
    /// How users are changed: patch or put.
    #[arg(long, value_name = "HOW", value_parser = named::<Update>)]
    pub(in crate::cli) users_by: Option<Update>,
    /// How groups are changed: change (PATCH that adds and removes members), replace (PATCH with all members) or put.
    #[arg(long, value_name = "HOW", value_parser = named::<GroupUpdate>)]
    pub(in crate::cli) groups_by: Option<GroupUpdate>,
    /// How the removal of members is written: by_filter or by_list.
    #[arg(long, value_name = "HOW", value_parser = named::<Removal>)]
    pub(in crate::cli) removal: Option<Removal>,
    /// Whether operations of PATCH name by a path what they are about.
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) paths: Option<bool>,
    /// How many members one request names at most, 1 to 10000.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) members_at_once: Option<u32>,
    /// Whether users and groups are looked for by externalId.
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) finds_external_ids: Option<bool>,
    /// Whether changes name the version that they change.
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) etags: Option<bool>,
    /// How many resources a page of a list has, 1 to 10000.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) page_size: Option<u32>,
    /// How many requests it takes in how many seconds, such as 180/60; 0/1 for no limit.
    #[arg(long, value_name = "REQUESTS/SECONDS", value_parser = rate)]
    pub(in crate::cli) rate: Option<Rate>,
    /// A repair that disables or deletes more users and groups has to be confirmed.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) repair_leaving: Option<u32>,
    /// The same, in percent of the users whom the application has of the hub's.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) repair_leaving_percent: Option<u32>,
    /// A repair that takes more users out of groups has to be confirmed.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) repair_member_removals: Option<u32>,
    /// A repair after which more groups are empty has to be confirmed.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) repair_emptied_groups: Option<u32>,
}

/// Reads something by the name that it has where it is stored.
fn named<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Reads so many requests in so many seconds.
fn rate(text: &str) -> Result<Rate, String> {
    let parts = text.split_once('/');
    let parts = parts.and_then(|(requests, seconds)| Some((requests.parse().ok()?, seconds.parse().ok()?)));
    let (requests, seconds) = parts.ok_or("write a number of requests and one of seconds, such as 180/60")?;
    Ok(Rate { requests, seconds })
}
