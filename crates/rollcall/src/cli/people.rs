//! `rollcall user`, `unit` and `group`.

mod show;

use std::process::ExitCode;

use anyhow::{Result, bail};
use rollcall_db::Dialect;
use rollcall_protocol::SubjectKind;
use serde_json::json;

use super::args;
use super::caller::caller;
use super::failure::Refusal;
use super::output::{Output, counted, first_of};
use super::password;
use crate::directory::earlier::{self, Incarnation};
use crate::directory::{
    self, Applied, Cascade, Command, Group, GroupChanges, Named, NewGroup, NewUnit, NewUser, Unit,
    UnitChanges, User, UserChanges, query,
};
use crate::hub::Hub;
use crate::maintenance::erasure::{erase_user, is_known};

async fn apply(hub: &Hub, out: &Output, command: Command) -> Result<ExitCode> {
    let applied: Applied = hub.apply(caller(), command).await?;
    out.show(&applied, || match applied.changes {
        0 => format!("{}: nothing to change", applied.id),
        1 => applied.id.clone(),
        more => format!("{} ({})", applied.id, counted(more as u64, "change")),
    });
    Ok(ExitCode::SUCCESS)
}

async fn find_user(hub: &Hub, name: &str) -> Result<User> {
    let wanted = name.to_owned();
    let found = hub.db.read(move |tx| query::find_user(tx, &wanted)).await?;
    found.ok_or_else(|| directory::not_found(SubjectKind::User, name).into())
}

async fn find_unit(hub: &Hub, name: &str) -> Result<Unit> {
    let wanted = name.to_owned();
    let found = hub.db.read(move |tx| query::find_unit(tx, &wanted)).await?;
    found.ok_or_else(|| directory::not_found(SubjectKind::Unit, name).into())
}

async fn find_group(hub: &Hub, name: &str) -> Result<Group> {
    let wanted = name.to_owned();
    let found = hub.db.read(move |tx| query::find_group(tx, &wanted)).await?;
    found.ok_or_else(|| directory::not_found(SubjectKind::Group, name).into())
}

async fn unit_ids(hub: &Hub, names: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        ids.push(find_unit(hub, name).await?.id);
    }
    Ok(ids)
}

fn emptied(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) async fn user(hub: &Hub, out: &Output, verb: args::User) -> Result<ExitCode> {
    let command = match verb {
        args::User::Create {
            username,
            display_name,
            unit,
            further,
            fields,
            password_stdin,
        } => Command::CreateUser(NewUser {
            username,
            display_name,
            primary_organizational_unit_id: find_unit(hub, &unit).await?.id,
            organizational_unit_ids: unit_ids(hub, &further).await?,
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
            password: if password_stdin {
                Some(password::read(hub).await?)
            } else {
                None
            },
            ..NewUser::default()
        }),
        args::User::Update {
            user,
            username,
            display_name,
            fields,
            clear_custom,
        } => Command::UpdateUser {
            id: find_user(hub, &user).await?.id,
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
        args::User::Show { user } => return show::user(hub, out, &user).await,
        args::User::List {
            unit,
            search,
            listing,
        } => return show::users(hub, out, unit, search, &listing).await,
        args::User::Password { user } => {
            let id = find_user(hub, &user).await?.id;
            Command::SetPassword {
                id,
                password: password::read(hub).await?,
            }
        }
        args::User::Enable { user } => Command::EnableUser {
            id: find_user(hub, &user).await?.id,
        },
        args::User::Disable { user } => Command::DisableUser {
            id: find_user(hub, &user).await?.id,
        },
        args::User::Lock { user, minutes } => Command::LockUser {
            id: find_user(hub, &user).await?.id,
            until: minutes.map(|minutes| hub.clock.now() + i64::from(minutes) * 60_000),
        },
        args::User::Unlock { user } => Command::UnlockUser {
            id: find_user(hub, &user).await?.id,
        },
        args::User::Move { user, unit, further } => Command::SetUnits {
            id: find_user(hub, &user).await?.id,
            primary: find_unit(hub, &unit).await?.id,
            further: unit_ids(hub, &further).await?,
        },
        args::User::Delete { user } => Command::DeleteUser {
            id: find_user(hub, &user).await?.id,
        },
        args::User::Erase { user, confirm } => return erase(hub, out, &user, confirm).await,
    };
    apply(hub, out, command).await
}

async fn erase(hub: &Hub, out: &Output, name: &str, confirm: bool) -> Result<ExitCode> {
    let wanted = name.to_owned();
    let id = hub.db.read(move |tx| query::user_id(tx, &wanted)).await?;
    if !is_known(hub, &id).await? {
        let wanted = name.to_owned();
        let others = hub.db.read(move |tx| earlier::named(tx, &wanted)).await?;
        if others.is_empty() {
            bail!(
                "there is no user {name}, and the change log knows of none; a user of any time is found by the id"
            );
        }
        bail!(
            "there is no user {name} in the directory. The change log knows these; erase by the id:{}",
            incarnations(&others)
        );
    }
    if !confirm {
        let what = format!("this deletes {name} and every record of it, which cannot be undone");
        bail!(Refusal::unconfirmed(what));
    }
    let erased = erase_user(hub, &caller(), &id).await?;
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
            text.push_str(match hub.db.dialect() {
                Dialect::Postgres => {
                    "\nPostgreSQL keeps old versions of rows until it vacuums: run VACUUM if that must not wait."
                }
                Dialect::Sqlite => {
                    "\nThe write-ahead log could not be emptied, because somebody reads an old state: it still holds \
                     records. Erase the same id again when backups and other readers have ended."
                }
            });
        }
        if !erased.others.is_empty() {
            text.push_str("\nThese may be the same person under another id. If they are, erase them too:");
            text.push_str(&incarnations(&erased.others));
        }
        text
    });
    Ok(ExitCode::SUCCESS)
}

fn incarnations(list: &[Incarnation]) -> String {
    list.iter().map(|other| format!("\n  {other}")).collect()
}

pub(super) async fn unit(hub: &Hub, out: &Output, verb: args::Unit) -> Result<ExitCode> {
    let command = match verb {
        args::Unit::Create { name, parent } => {
            let parent_id = find_unit(hub, &parent).await?.id;
            Command::CreateUnit(NewUnit {
                name,
                parent_id,
                ..NewUnit::default()
            })
        }
        args::Unit::Show { unit } => return show::unit(hub, out, &unit).await,
        args::Unit::List { unit, search } => return show::units(hub, out, &unit, search).await,
        args::Unit::Rename { unit, name } => Command::UpdateUnit {
            id: find_unit(hub, &unit).await?.id,
            changes: UnitChanges {
                name: Some(name),
                ..UnitChanges::default()
            },
        },
        args::Unit::Move { unit, parent } => Command::MoveUnit {
            id: find_unit(hub, &unit).await?.id,
            parent_id: find_unit(hub, &parent).await?.id,
        },
        args::Unit::Delete {
            unit, cascade: false, ..
        } => Command::DeleteUnit {
            id: find_unit(hub, &unit).await?.id,
            cascade: Cascade::No,
        },
        args::Unit::Delete { unit, confirm, .. } => return cascade(hub, out, &unit, confirm).await,
    };
    apply(hub, out, command).await
}

/// Shows what the deletion of a unit takes along; deletes it if that was confirmed.
async fn cascade(hub: &Hub, out: &Output, name: &str, confirm: Option<String>) -> Result<ExitCode> {
    let id = find_unit(hub, name).await?.id;
    let of = id.clone();
    let plan = hub.db.read(move |tx| directory::plan_deletion(tx, &of)).await?;
    let changes = match confirm {
        Some(token) => {
            let cascade = Cascade::Confirmed(token);
            let delete = Command::DeleteUnit { id, cascade };
            Some(hub.apply(caller(), delete).await?.changes)
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

pub(super) async fn group(hub: &Hub, out: &Output, verb: args::Group) -> Result<ExitCode> {
    let command = match verb {
        args::Group::Create { name, description } => Command::CreateGroup(NewGroup {
            name,
            description,
            ..NewGroup::default()
        }),
        args::Group::Show { group, all } => return show::group(hub, out, &group, all).await,
        args::Group::List { search, listing } => return show::groups(hub, out, search, &listing).await,
        args::Group::Rename { group, name } => Command::UpdateGroup {
            id: find_group(hub, &group).await?.id,
            changes: GroupChanges {
                name: Some(name),
                ..GroupChanges::default()
            },
        },
        args::Group::Add { group, users } => Command::AddMembers {
            group_id: find_group(hub, &group).await?.id,
            user_ids: user_ids(hub, &users).await?,
        },
        args::Group::Remove { group, users } => Command::RemoveMembers {
            group_id: find_group(hub, &group).await?.id,
            user_ids: user_ids(hub, &users).await?,
        },
        args::Group::Delete { group } => Command::DeleteGroup {
            id: find_group(hub, &group).await?.id,
        },
    };
    apply(hub, out, command).await
}

async fn user_ids(hub: &Hub, names: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        ids.push(find_user(hub, name).await?.id);
    }
    Ok(ids)
}
