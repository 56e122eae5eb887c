//! `rollcall user`, `unit` and `group`.

mod show;

use std::process::ExitCode;

use anyhow::{Result, bail};
use rollcall_db::Dialect;
use serde_json::json;

use super::args;
use super::backend::{Backend, Erasable};
use super::failure::Refusal;
use super::output::{Output, counted, first_of};
use super::password;
use crate::directory::earlier::Incarnation;
use crate::directory::{
    Applied, Cascade, Command, GroupChanges, Named, NewGroup, NewUnit, NewUser, UnitChanges, UserChanges,
};

async fn apply(backend: &Backend, out: &Output, command: Command) -> Result<ExitCode> {
    Ok(told(out, &backend.apply(command).await?))
}

fn told(out: &Output, applied: &Applied) -> ExitCode {
    out.show(applied, || match applied.changes {
        0 => format!("{}: nothing to change", applied.id),
        1 => applied.id.clone(),
        more => format!("{} ({})", applied.id, counted(more as u64, "change")),
    });
    ExitCode::SUCCESS
}

async fn unit_ids(backend: &Backend, names: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        ids.push(backend.unit(name).await?.id);
    }
    Ok(ids)
}

fn emptied(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) async fn user(backend: &Backend, out: &Output, verb: args::User) -> Result<ExitCode> {
    let command = match verb {
        args::User::Create {
            username,
            display_name,
            unit,
            further,
            fields,
            password_stdin,
        } => {
            let new = NewUser {
                username,
                display_name,
                primary_organizational_unit_id: backend.unit(&unit).await?.id,
                organizational_unit_ids: unit_ids(backend, &further).await?,
                email: fields.email,
                phone_region: fields.phone_region,
                phone_number: fields.phone_number,
                description: fields.description,
                external_id: fields.external_id,
                account_expire_time: fields.expires.and_then(|expiry| expiry.0),
                custom_fields: fields
                    .custom
                    .into_iter()
                    .filter_map(|field| Some((field.name, field.value?)))
                    .collect(),
                ..NewUser::default()
            };
            let password = match password_stdin {
                true => Some(password::ask_for().await?),
                false => None,
            };
            return Ok(told(out, &backend.create_user(new, password).await?));
        }
        args::User::Update {
            user,
            username,
            display_name,
            fields,
            clear_custom,
        } => Command::UpdateUser {
            id: backend.user(&user).await?.id,
            changes: UserChanges {
                username,
                display_name,
                email: fields.email.map(emptied),
                phone_region: fields.phone_region.map(emptied),
                phone_number: fields.phone_number.map(emptied),
                description: fields.description.map(emptied),
                external_id: fields.external_id.map(emptied),
                account_expire_time: fields.expires.map(|expiry| expiry.0),
                custom_fields: clear_custom
                    .into_iter()
                    .map(|name| (name, None))
                    .chain(fields.custom.into_iter().map(|field| (field.name, field.value)))
                    .collect(),
                ..UserChanges::default()
            },
        },
        args::User::Show { user } => return show::user(backend, out, &user).await,
        args::User::List {
            unit,
            search,
            listing,
        } => return show::users(backend, out, unit, search, &listing).await,
        args::User::Password { user } => {
            let id = backend.user(&user).await?.id;
            let password = password::ask_for().await?;
            return Ok(told(out, &backend.set_password(id, password).await?));
        }
        args::User::Enable { user } => Command::EnableUser {
            id: backend.user(&user).await?.id,
        },
        args::User::Disable { user } => Command::DisableUser {
            id: backend.user(&user).await?.id,
        },
        args::User::Lock { user, minutes } => Command::LockUser {
            id: backend.user(&user).await?.id,
            until: minutes.map(|minutes| backend.now() + i64::from(minutes) * 60_000),
        },
        args::User::Unlock { user } => Command::UnlockUser {
            id: backend.user(&user).await?.id,
        },
        args::User::Move { user, unit, further } => Command::SetUnits {
            id: backend.user(&user).await?.id,
            primary: backend.unit(&unit).await?.id,
            further: unit_ids(backend, &further).await?,
        },
        args::User::Delete { user } => Command::DeleteUser {
            id: backend.user(&user).await?.id,
        },
        args::User::Erase { user, confirm } => return erase(backend, out, &user, confirm).await,
    };
    apply(backend, out, command).await
}

async fn erase(backend: &Backend, out: &Output, name: &str, confirm: bool) -> Result<ExitCode> {
    let id = match backend.erasable(name).await? {
        Erasable::Known(id) => id,
        Erasable::Unknown => bail!(
            "there is no user {name}, and the change log knows of none; a user of any time is found by the id"
        ),
        Erasable::Earlier(others) => bail!(
            "there is no user {name} in the directory. The change log knows these; erase by the id:{}",
            incarnations(&others)
        ),
    };
    if !confirm {
        let what = format!("this deletes {name} and every record of it, which cannot be undone");
        bail!(Refusal::unconfirmed(what));
    }
    let erased = backend.erase(&id).await?;
    out.show(&erased, || {
        let mut text = format!(
            "{} is erased: {} in the change log, {}\n\
             Backups and the applications' own copies are not reached from here; the applications are told \
             that the user is gone.",
            erased.id,
            counted(erased.changes, "record"),
            counted(erased.attempts, "attempt")
        );
        if !erased.files_clean {
            text.push_str(&leftovers(backend.dialect()));
        }
        if !erased.others.is_empty() {
            text.push_str("\nThese may be the same person under another id. If they are, erase them too:");
            text.push_str(&incarnations(&erased.others));
        }
        text
    });
    Ok(ExitCode::SUCCESS)
}

/// What the database's files may still hold.
fn leftovers(dialect: Option<Dialect>) -> String {
    let postgres =
        "\nPostgreSQL keeps old versions of rows until it vacuums: run VACUUM if that must not wait.";
    let sqlite = "\nThe write-ahead log could not be emptied, because somebody reads an old state: it still holds \
                  records. Erase the same id again when backups and other readers have ended.";
    match dialect {
        Some(Dialect::Postgres) => postgres.to_owned(),
        Some(Dialect::Sqlite) => sqlite.to_owned(),
        None => format!(
            "{postgres}{}",
            sqlite.replacen("The write", "On SQLite: the write", 1)
        ),
    }
}

fn incarnations(list: &[Incarnation]) -> String {
    list.iter().map(|other| format!("\n  {other}")).collect()
}

pub(super) async fn unit(backend: &Backend, out: &Output, verb: args::Unit) -> Result<ExitCode> {
    let command = match verb {
        args::Unit::Create { name, parent } => {
            let parent_id = backend.unit(&parent).await?.id;
            Command::CreateUnit(NewUnit {
                name,
                parent_id,
                ..NewUnit::default()
            })
        }
        args::Unit::Show { unit } => return show::unit(backend, out, &unit).await,
        args::Unit::List { unit, search } => return show::units(backend, out, &unit, search).await,
        args::Unit::Rename { unit, name } => Command::UpdateUnit {
            id: backend.unit(&unit).await?.id,
            changes: UnitChanges {
                name: Some(name),
                ..UnitChanges::default()
            },
        },
        args::Unit::Move { unit, parent } => Command::MoveUnit {
            id: backend.unit(&unit).await?.id,
            parent_id: backend.unit(&parent).await?.id,
        },
        args::Unit::Delete {
            unit, cascade: false, ..
        } => Command::DeleteUnit {
            id: backend.unit(&unit).await?.id,
            cascade: Cascade::No,
        },
        args::Unit::Delete { unit, confirm, .. } => return cascade(backend, out, &unit, confirm).await,
    };
    apply(backend, out, command).await
}

/// Shows what the deletion of a unit takes along; deletes it if that was confirmed.
async fn cascade(backend: &Backend, out: &Output, name: &str, confirm: Option<String>) -> Result<ExitCode> {
    let id = backend.unit(name).await?.id;
    let plan = backend.plan_deletion(&id).await?;
    let changes = match confirm {
        Some(token) => {
            let cascade = Cascade::Confirmed(token);
            let delete = Command::DeleteUnit { id, cascade };
            Some(backend.apply(delete).await?.changes)
        }
        None => None,
    };
    out.show(&json!({ "plan": plan, "changes": changes }), || {
        let mut text = format!("delete unit   /{}\n", plan.path);
        for (title, named, what) in [
            ("units", &plan.organizational_units, ["is deleted", "are deleted"]),
            ("users", &plan.deleted_users, ["is deleted", "are deleted"]),
            (
                "users",
                &plan.users_that_stay,
                ["stays, in other units", "stay, in other units"],
            ),
            ("groups", &plan.groups, ["loses members", "lose members"]),
        ] {
            text.push_str(&line_of(title, named, what));
        }
        text.push_str(&format!("memberships   {} end\n", plan.memberships));
        text.push_str(&match changes {
            Some(changes) => format!("It is done: {}\n", counted(changes as u64, "change")),
            None => format!(
                "Nothing is deleted yet. To do this, repeat with --confirm {}\n",
                plan.token
            ),
        });
        text
    });
    Ok(ExitCode::SUCCESS)
}

/// A line of a plan of deletion. What becomes of them is said of one, and of several.
fn line_of(title: &str, named: &Named, [of_one, of_several]: [&str; 2]) -> String {
    let what = if named.count == 1 { of_one } else { of_several };
    let names = first_of(&named.first, named.count);
    format!("{title:<13} {} {what}{names}\n", named.count)
}

pub(super) async fn group(backend: &Backend, out: &Output, verb: args::Group) -> Result<ExitCode> {
    let command = match verb {
        args::Group::Create { name, description } => Command::CreateGroup(NewGroup {
            name,
            description,
            ..NewGroup::default()
        }),
        args::Group::Show { group, all } => return show::group(backend, out, &group, all).await,
        args::Group::List { search, listing } => return show::groups(backend, out, search, &listing).await,
        args::Group::Rename { group, name } => Command::UpdateGroup {
            id: backend.group(&group).await?.id,
            changes: GroupChanges {
                name: Some(name),
                ..GroupChanges::default()
            },
        },
        args::Group::Add { group, users } => Command::AddMembers {
            group_id: backend.group(&group).await?.id,
            user_ids: user_ids(backend, &users).await?,
        },
        args::Group::Remove { group, users } => Command::RemoveMembers {
            group_id: backend.group(&group).await?.id,
            user_ids: user_ids(backend, &users).await?,
        },
        args::Group::Delete { group } => Command::DeleteGroup {
            id: backend.group(&group).await?.id,
        },
    };
    apply(backend, out, command).await
}

async fn user_ids(backend: &Backend, names: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        ids.push(backend.user(name).await?.id);
    }
    Ok(ids)
}
