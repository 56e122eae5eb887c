//! Making users, one or many: the statements are the same, whatever their number.

use std::collections::HashMap;
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
            .record()
    }

    /// The user that this will be, without its units.
    pub(super) fn to_user(&self, id: String, now: Millis) -> User {
        User {
            id,
            username: self.username.clone(),
            display_name: self.display_name.clone(),
            email: self.email.clone(),
            email_verified: self.email_verified,
            phone_region: self.phone_region.clone(),
            phone_number: self.phone_number.clone(),
            phone_verified: self.phone_verified,
            password_set: self.password.is_some(),
            enabled: !self.disabled,
            account_expire_time: self.account_expire_time.filter(|time| *time >= 0),
            lock_expire_time: None,
            register_time: now,
            description: self.description.clone(),
            custom_fields: self.custom_fields.clone(),
            source: self.source.clone(),
            external_id: self.external_id.clone(),
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

/// Users share few combinations of units; each is looked up once.
type Places = HashMap<(String, Vec<String>), (Vec<UserUnit>, Arc<Placement>)>;

/// Makes users and says of each its id, or why it was refused; the others are made all the same.
pub(in crate::directory) fn create_many(
    tx: &mut Tx<'_>,
    ctx: &Context<'_>,
    new: &[NewUser],
) -> Result<Vec<Result<String, DirectoryError>>, DirectoryError> {
    let mut places = Places::new();
    let mut users = Vec::with_capacity(new.len());
    for new in new {
        let place = (
            new.primary_organizational_unit_id.clone(),
            new.organizational_unit_ids.clone(),
        );
        let mut user = new.to_user(id::make("user", ctx.now, ctx.random), ctx.now);
        if !places.contains_key(&place) {
            let units = match unit_list(tx, &place.0, &place.1) {
                Err(error @ DirectoryError::Database(_)) => return Err(error),
                units => units,
            };
            if let Ok(units) = units {
                let ids: Vec<String> = units.iter().map(|unit| unit.id.clone()).collect();
                let stands = placement(tx, &ids, Vec::new())?;
                places.insert(place.clone(), (units, stands));
            }
        }
        if let Some((units, _)) = places.get(&place) {
            user.units.clone_from(units);
        }
        users.push((user, place, new));
    }
    let only: Vec<User> = users.iter().map(|(user, ..)| user.clone()).collect();
    let mut results: Vec<Result<String, DirectoryError>> = Vec::with_capacity(users.len());
    for (verdict, (user, (primary, further), _)) in check(tx, &only)?.into_iter().zip(&users) {
        results.push(match verdict {
            Some(error) => Err(error),
            // The unit is missing: ask again, for the error that says which.
            None if user.units.is_empty() => match unit_list(tx, primary, further) {
                Err(error) => Err(error),
                Ok(_) => Ok(user.id.clone()),
            },
            None => Ok(user.id.clone()),
        });
    }
    let mut rows: Vec<(User, Option<&NewPassword>)> = Vec::with_capacity(users.len());
    let mut changes = Vec::with_capacity(users.len());
    for ((user, place, new), result) in users.into_iter().zip(&results) {
        if result.is_err() {
            continue;
        }
        changes.push(NewChange {
            after: places.get(&place).map(|(_, stands)| Arc::clone(stands)),
            secret: new
                .password
                .as_ref()
                .and_then(|password| ctx.seal(password, &user.id)),
            ..user.change(ChangeKind::Event(EventType::UserCreate))
        });
        rows.push((user, new.password.as_ref()));
    }
    rows::insert(tx, &rows)?;
    ctx.append(tx, &changes)?;
    Ok(results)
}
