//! Passwords of users: those that are given, and those that nobody is told.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_protocol::Random;
use zeroize::Zeroizing;

use super::users::require;
use super::{Desk, Given, Need, Refusal};
use crate::directory::{Command, NewPassword};
use crate::secret::SecretString;

/// How many random bytes a password is made of that nobody is told.
const RANDOM_PASSWORD: usize = 24;

/// Prepares a password, away from what serves other requests, because hashing takes long on purpose.
pub(super) async fn prepare(desk: &Desk, plain: SecretString) -> Result<NewPassword, Refusal> {
    let random = Arc::clone(&desk.hub().random);
    let prepared = tokio::task::spawn_blocking(move || NewPassword::prepare(plain, &*random)).await;
    Ok(prepared.map_err(|error| Refusal::internal(error.to_string()))??)
}

/// A password that nobody is told.
fn random_password(random: &dyn Random) -> SecretString {
    let mut bytes = Zeroizing::new([0; RANDOM_PASSWORD]);
    random.fill(bytes.as_mut());
    URL_SAFE_NO_PAD.encode(bytes.as_ref()).into()
}

/// Refuses what may be wanted beside a password and the hub does not do.
fn check_beside_password(given: &Given) -> Result<(), Refusal> {
    if given
        .some("passwordForcedUpdateStatus")?
        .is_some_and(|status| status != "disabled")
    {
        let field = "passwordForcedUpdateStatus";
        let message =
            "the hub cannot have a password changed at the next sign-in: leave it out, or say disabled";
        return Err(Refusal::unsupported(field, message));
    }
    if !given.some_ids("userNotificationChannels", usize::MAX)?.is_empty() {
        let field = "userNotificationChannels";
        return Err(Refusal::unsupported(
            field,
            "the hub sends no messages to users: leave it out",
        ));
    }
    Ok(())
}

/// The password of a new user: that which was given, or one that is made because `passwordInitializationConfig` wants it.
pub(super) fn first_password(given: &Given, random: &dyn Random) -> Result<Option<SecretString>, Refusal> {
    let password = given.secret("password")?;
    let Some(wanted) = given.object("passwordInitializationConfig")? else {
        return Ok(password);
    };
    check_beside_password(&wanted)?;
    // What the whole instance has of it is nothing.
    if wanted
        .some("passwordInitializationPolicyPriority")?
        .is_some_and(|priority| priority != "custom")
    {
        let field = "passwordInitializationPolicyPriority";
        let message = "the hub has no global way of making passwords: leave it out, or say custom";
        return Err(Refusal::unsupported(field, message));
    }
    match wanted.some("passwordInitializationType")?.as_deref() {
        None => Ok(password),
        Some("random") => Ok(password.or_else(|| Some(random_password(random)))),
        Some(_) => Err(Refusal::invalid(
            "passwordInitializationType",
            "passwordInitializationType must be random",
        )),
    }
}

/// Sets a user's password.
///
/// # Errors
/// [`Refusal`].
pub async fn set(desk: &Desk, id: String, given: &Given) -> Result<(), Refusal> {
    check_beside_password(given)?;
    let plain = given
        .secret("password")?
        .ok_or_else(|| Refusal::missing("password"))?;
    let of = id.clone();
    // Nobody spends time on hashing for whoever may not set it.
    desk.read(Need::Passwords, move |tx, access| {
        require(tx, access, &of).map(drop)
    })
    .await?;
    let password = prepare(desk, plain).await?;
    desk.carry_out(Need::Passwords, Command::SetPassword { id, password })
        .await
}
