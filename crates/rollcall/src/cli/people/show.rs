//! Users, units and groups as they are: one of them, or lists.

use std::process::ExitCode;

use anyhow::Result;
use indicatif::HumanCount;
use serde_json::json;

use super::{find_group, find_unit, find_user};
use crate::cli::list::{self, Listing, Rows, SHOWN};
use crate::cli::output::{Output, note, time};
use crate::directory::search::{self, Wanted};
use crate::directory::{Group, LOCKED_UNTIL_UNLOCKED, User, query};
use crate::hub::Hub;
use crate::listing;

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("–")
}

pub(super) async fn user(hub: &Hub, out: &Output, name: &str) -> Result<ExitCode> {
    let user = find_user(hub, name).await?;
    let of = user.groups.clone();
    let groups = hub
        .db
        .read(move |tx| {
            let names = of.iter().map(|id| Ok((id.clone(), query::group_name(tx, id)?)));
            names.collect::<Result<Vec<_>, rollcall_db::DbError>>()
        })
        .await?;
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
        for (id, name) in &groups {
            lines.push_str(&format!("group         {id}  {}\n", text(name)));
        }
        lines
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn users(
    hub: &Hub,
    out: &Output,
    unit: Option<String>,
    search: Option<String>,
    listing: &Listing,
) -> Result<ExitCode> {
    let unit_id = match unit {
        Some(unit) => Some(find_unit(hub, &unit).await?.id),
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
    let read = async |after: String, limit| Ok(listing::users(&hub.db, &wanted, &after, limit).await?);
    list::show(out, listing, &rows, read, async || {
        if searches {
            return Ok(None);
        }
        let unit_id = wanted.unit_id.clone();
        let count = move |tx: &mut rollcall_db::Tx<'_>| search::count_users(tx, unit_id.as_deref());
        Ok(Some(hub.db.read(count).await?))
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
    hub: &Hub,
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
    let read = async |after: String, limit| Ok(listing::groups(&hub.db, &wanted, &after, limit).await?);
    list::show(out, listing, &rows, read, async || match searches {
        true => Ok(None),
        false => Ok(Some(hub.db.read(search::count_groups).await?)),
    })
    .await
}

pub(super) async fn group(hub: &Hub, out: &Output, name: &str, all: bool) -> Result<ExitCode> {
    let group = find_group(hub, name).await?;
    let id = group.id.clone();
    let members = hub.db.read(move |tx| query::member_usernames(tx, &id)).await?;
    let shown = if all {
        members.len()
    } else {
        SHOWN.min(members.len())
    };
    let named: Vec<_> = members
        .iter()
        .map(|(id, username)| json!({ "id": id, "username": username }))
        .collect();
    out.show(&json!({ "group": group, "members": named }), || {
        let mut lines = format!(
            "{}\nname         {}\ndescription  {}\nmembers      {}\n",
            group.id,
            group.name,
            text(&group.description),
            HumanCount(members.len() as u64)
        );
        for (id, username) in &members[..shown] {
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

pub(super) async fn unit(hub: &Hub, out: &Output, name: &str) -> Result<ExitCode> {
    let unit = find_unit(hub, name).await?;
    let id = unit.id.clone();
    let path = hub.db.read(move |tx| query::unit_path(tx, &id)).await?;
    out.show(&unit, || {
        format!("{}\nname  {}\npath  /{path}\n", unit.id, unit.name)
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn units(hub: &Hub, out: &Output, below: &str, search: Option<String>) -> Result<ExitCode> {
    let id = find_unit(hub, below).await?.id;
    let units = hub
        .db
        .read(move |tx| query::list_units(tx, &id, search.as_deref()))
        .await?;
    out.show(&units, || {
        let lines = units.iter().map(|at| format!("{}  /{}\n", at.unit.id, at.path));
        lines.collect()
    });
    if units.is_empty() && !out.json {
        note("no organizational unit");
    }
    Ok(ExitCode::SUCCESS)
}
