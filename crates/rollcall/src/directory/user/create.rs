//! Making users, one or many: the statements are the same, whatever their number.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rollcall_db::Tx;
use rollcall_protocol::EventType;

use super::check::check;
use super::rows::{self, unit_list};
use super::{NewUser, User, UserUnit};
use crate::change::{ChangeKind, NewChange, Placement};
use crate::clock::Millis;
use crate::directory::placement::placement;
use crate::directory::{Context, DirectoryError, NewPassword};
use crate::id;

impl NewUser {
    /// The record of the user that this will be, as it goes on the wire, but for its id and units.
    pub fn preview(&self, now: Millis) -> String {
        self.to_user("user_00000000000000000000000000".to_owned(), now)
            .record("")
    }

    /// The user that this will be, without its units.
    pub fn to_user(&self, id: String, now: Millis) -> User {
        let Self {
            username,
            display_name,
            primary_organizational_unit_id: _,
            organizational_unit_ids: _,
            email,
            email_verified,
            phone_region,
            phone_number,
            phone_verified,
            description,
            external_id,
            source,
            account_expire_time,
            custom_fields,
            disabled,
            password,
        } = self;
        User {
            id,
            username: username.clone(),
            display_name: display_name.clone(),
            email: email.clone(),
            email_verified: *email_verified,
            phone_region: phone_region.clone(),
            phone_number: phone_number.clone(),
            phone_verified: *phone_verified,
            password_set: password.is_some(),
            enabled: !disabled,
            account_expire_time: account_expire_time.filter(|time| *time >= 0),
            lock_expire_time: None,
            register_time: now,
            description: description.clone(),
            custom_fields: custom_fields.clone(),
            source: source.clone(),
            external_id: external_id.clone(),
            create_time: now,
            update_time: now,
            units: Vec::new(),
            groups: Vec::new(),
        }
    }
}

/// Makes one user.
pub(in crate::directory) fn create(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &NewUser,
) -> Result<(String, usize), DirectoryError> {
    let made = create_many(tx, ctx, std::slice::from_ref(new))?;
    made.into_iter()
        .map(|id| Ok((id?, 1)))
        .next()
        .unwrap_or_else(|| Ok((String::new(), 0)))
}

/// Where users stand: the units, and what contains them.
type Place = (Vec<UserUnit>, Arc<Placement>);

/// Users share few combinations of units; each is looked up once.
#[derive(Default)]
struct Places(HashMap<(String, Vec<String>), Place>);

impl Places {
    fn of(&mut self, tx: &mut Tx<'_>, ctx: &Context<'_>, new: &NewUser) -> Result<&Place, DirectoryError> {
        let (primary, further) = (&new.primary_organizational_unit_id, &new.organizational_unit_ids);
        Ok(match self.0.entry((primary.clone(), further.clone())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                ctx.sees_units(tx, &std::iter::once(primary).chain(further).collect::<Vec<_>>())?;
                let units = unit_list(tx, primary, further)?;
                let ids: Vec<String> = units.iter().map(|unit| unit.id.clone()).collect();
                let stands = placement(tx, &ids, Vec::new())?;
                unknown.insert((units, stands))
            }
        })
    }
}

/// Makes users and says of each its id, or why it was refused; the others are made all the same.
pub(in crate::directory) fn create_many(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &[NewUser],
) -> Result<Vec<Result<String, DirectoryError>>, DirectoryError> {
    let users: Vec<User> = new
        .iter()
        .map(|new| new.to_user(id::make("user", ctx.now, ctx.random), ctx.now))
        .collect();
    let verdicts = check(tx, &users)?;
    let mut places = Places::default();
    let mut results = Vec::with_capacity(users.len());
    let mut rows: Vec<(User, Option<&NewPassword>)> = Vec::with_capacity(users.len());
    let mut changes = Vec::with_capacity(users.len());
    for ((mut user, verdict), new) in users.into_iter().zip(verdicts).zip(new) {
        let place = match verdict {
            Some(refused) => Err(refused),
            None => places.of(tx, ctx, new),
        };
        let (units, stands) = match place {
            Ok(place) => place,
            Err(error @ DirectoryError::Database(_)) => return Err(error),
            Err(refused) => {
                results.push(Err(refused));
                continue;
            }
        };
        user.units.clone_from(units);
        changes.push(NewChange {
            after: Some(Arc::clone(stands)),
            secret: new
                .password
                .as_ref()
                .and_then(|password| ctx.seal(password, &user.id)),
            ..user.change(ctx, ChangeKind::Event(EventType::UserCreate))
        });
        results.push(Ok(user.id.clone()));
        rows.push((user, new.password.as_ref()));
    }
    rows::insert(tx, &rows)?;
    ctx.append(tx, &changes)?;
    Ok(results)
}
