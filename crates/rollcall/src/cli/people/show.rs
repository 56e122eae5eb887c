//! Users, units and groups as they are: one of them, or lists.

use std::process::ExitCode;

use anyhow::Result;
use indicatif::HumanCount;
use serde_json::json;

use crate::cli::backend::Backend;
use crate::cli::list::{self, Listing, Rows, SHOWN};
use crate::cli::output::{Output, note, time};
use crate::directory::query::{Member, UnitAt};
use crate::directory::search::Wanted;
use crate::directory::{Group, LOCKED_UNTIL_UNLOCKED, User};

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("–")
}

pub(super) async fn user(backend: &Backend, out: &Output, name: &str) -> Result<ExitCode> {
    let user = backend.user(name).await?;
    let groups = backend.groups_of(&user).await?;
    out.show(&user, || {
        let mut lines = format!(
            "{}\nusername      {}\ndisplay name  {}\nemail         {}\nphone         {}\nstatus        {}\n",
            user.id,
            user.username,
            user.display_name,
            text(&user.email),
            match (&user.phone_region, &user.phone_number) {
                (Some(region), Some(number)) => format!("+{region} {number}"),
                _ => "–".to_owned(),
            },
            if user.enabled { "enabled" } else { "disabled" }
        );
        if let Some(expires) = user.account_expire_time {
            lines.push_str(&format!("expires       {}\n", time(expires)));
        }
        if let Some(until) = user.lock_expire_time {
            lines.push_str(&if until == LOCKED_UNTIL_UNLOCKED {
                "locked        until somebody unlocks the user\n".to_owned()
            } else {
                format!("locked until  {}\n", time(until))
            });
        }
        for (title, value) in [
            ("description", &user.description),
            ("external id", &user.external_id),
        ] {
            if let Some(value) = value {
                lines.push_str(&format!("{title}   {value}\n"));
            }
        }
        for (name, value) in &user.custom_fields {
            lines.push_str(&format!("custom        {name}={value}\n"));
        }
        for unit in &user.units {
            let primary = if unit.primary { " (primary)" } else { "" };
            lines.push_str(&format!("unit          {}  {}{primary}\n", unit.id, unit.name));
        }
        for group in &groups {
            lines.push_str(&format!("group         {}  {}\n", group.id, group.name));
        }
        lines
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn users(
    backend: &Backend,
    out: &Output,
    unit: Option<String>,
    search: Option<String>,
    listing: &Listing,
) -> Result<ExitCode> {
    let unit_id = match unit {
        Some(unit) => Some(backend.unit(&unit).await?.id),
        None => None,
    };
    let searches = search.is_some();
    let wanted = Wanted {
        unit_id,
        search,
        sight: None,
    };
    let rows = Rows {
        what: "user",
        name: |user: &User| &user.username,
        // Whoever was found by an email address is recognised by it.
        line: if searches { with_email } else { plain },
    };
    let read = async |after: String, limit| backend.users(&wanted, &after, limit).await;
    list::show(out, listing, &rows, read, async || match searches {
        true => Ok(None),
        false => backend.count_users(wanted.unit_id.clone()).await,
    })
    .await
}

fn plain(user: &User) -> String {
    format!("{}  {:<28} {}", user.id, user.username, user.display_name)
}

fn with_email(user: &User) -> String {
    match &user.email {
        Some(email) => format!("{} <{email}>", plain(user)),
        None => plain(user),
    }
}

pub(super) async fn groups(
    backend: &Backend,
    out: &Output,
    search: Option<String>,
    listing: &Listing,
) -> Result<ExitCode> {
    let searches = search.is_some();
    let wanted = Wanted {
        unit_id: None,
        search,
        sight: None,
    };
    let rows = Rows {
        what: "group",
        name: |group: &Group| &group.name,
        line: |group| format!("{}  {}", group.id, group.name),
    };
    let read = async |after: String, limit| backend.groups(&wanted, &after, limit).await;
    list::show(out, listing, &rows, read, async || match searches {
        true => Ok(None),
        false => backend.count_groups().await,
    })
    .await
}

pub(super) async fn group(backend: &Backend, out: &Output, name: &str, all: bool) -> Result<ExitCode> {
    let group = backend.group(name).await?;
    let members = backend.members(&group.id).await?;
    let shown = if all {
        members.len()
    } else {
        SHOWN.min(members.len())
    };
    out.show(&json!({ "group": group, "members": members }), || {
        let mut lines = format!(
            "{}\nname         {}\ndescription  {}\nmembers      {}\n",
            group.id,
            group.name,
            text(&group.description),
            HumanCount(members.len() as u64)
        );
        for Member { id, username } in &members[..shown] {
            lines.push_str(&format!("  {id}  {username}\n"));
        }
        lines
    });
    if shown < members.len() && !out.json {
        let total = HumanCount(members.len() as u64);
        note(&format!(
            "{shown} of {total} members shown; --all shows the others too"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn unit(backend: &Backend, out: &Output, name: &str) -> Result<ExitCode> {
    let UnitAt { unit, path } = backend.unit_at(name).await?;
    out.show(&unit, || {
        format!("{}\nname  {}\npath  /{path}\n", unit.id, unit.name)
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn units(
    backend: &Backend,
    out: &Output,
    below: &str,
    search: Option<String>,
) -> Result<ExitCode> {
    let units = backend.units(below, search).await?;
    out.show(&units, || {
        let lines = units.iter().map(|at| format!("{}  /{}\n", at.unit.id, at.path));
        lines.collect()
    });
    if units.is_empty() && !out.json {
        note("no organizational unit");
    }
    Ok(ExitCode::SUCCESS)
}
