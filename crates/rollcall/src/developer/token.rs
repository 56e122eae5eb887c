//! Access tokens: what an application gets for its secret, and shows with every call.
//!
//! A token is `rca_` and, in base64url, a box of what it says: for which application and secret it was given, and until
//! when it is good. The box is sealed under the hub's master key (AES-256-GCM), so nobody else can make one, change one
//! or read what it says, and the hub keeps none. It is good for 20 minutes, and for nothing as soon as its secret is not
//! good, the application is gone, or it was revoked by itself (RFC 7009).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_db::Version;
use serde::{Deserialize, Serialize};

use super::{Access, Refusal};
use crate::application::DeveloperApi;
use crate::application::developer::secrets;
use crate::clock::Millis;
use crate::hub::Hub;
use crate::id;
use crate::secret::{ExposeSecret as _, SecretString, hash_token};

/// How each token begins.
pub const PREFIX: &str = "rca_";

/// For how many seconds a token is good.
pub const LIFETIME: Millis = 1_200;

/// To what the boxes belong.
const BOX: &str = "access_token";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// `atok_…`.
    #[serde(rename = "jti")]
    pub id: String,
    /// The application.
    #[serde(rename = "sub")]
    pub application_id: String,
    /// The secret for which it was given.
    #[serde(rename = "sid")]
    pub secret_id: String,
    /// From when on it is good for nothing.
    #[serde(rename = "exp")]
    pub expires_at: Millis,
    /// How many calls the application may make a second: known before the database is asked anything.
    #[serde(rename = "rps")]
    pub requests_per_second: u32,
}

impl Claims {
    /// Reads a token of this hub, whether or not its time is over.
    fn open(hub: &Hub, shown: &str) -> Option<Self> {
        let sealed = URL_SAFE_NO_PAD.decode(shown.strip_prefix(PREFIX)?).ok()?;
        let plain = hub.master.open(&sealed, BOX).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

/// A token that was shown, and what was found when somebody looked last whether it is good.
#[derive(Debug)]
pub struct Token {
    /// What it says.
    pub claims: Claims,
    /// What it is called where calls are counted: all tokens of an application count together.
    pub caller: String,
    found: Mutex<Option<(Version, Arc<Access>)>>,
}

impl Token {
    fn found(&self) -> MutexGuard<'_, Option<(Version, Arc<Access>)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it may do in this version of the database, if somebody has looked there.
    pub(super) fn access(&self, version: Version, now: Millis) -> Option<Arc<Access>> {
        let found = self.found();
        let (at, access) = found.as_ref()?;
        (*at == version && access.is_good(now)).then(|| Arc::clone(access))
    }

    /// Remembers what it may do in this version.
    pub(super) fn remember(&self, version: Version, access: Arc<Access>) {
        *self.found() = Some((version, access));
    }
}

/// How many tokens are remembered. Whoever shows one more has the others read anew.
const MANY: usize = 4_096;

/// How many of the last bytes of a token tell it from others: they are of the box's tag, which looks like chance.
const TAIL: usize = 16;

/// The tokens that were shown of late, by their tails: to open a box takes longer.
#[derive(Debug, Default)]
pub struct Tokens(RwLock<HashMap<[u8; TAIL], Remembered>>);

#[derive(Debug)]
struct Remembered {
    shown: SecretString,
    token: Arc<Token>,
}

impl Remembered {
    /// This token, and not another one with the same tail.
    fn token(&self, shown: &str) -> Option<Arc<Token>> {
        let remembered = self.shown.expose_secret().as_bytes();
        let is_same = constant_time::verify_slices_are_equal(remembered, shown.as_bytes());
        is_same.ok().map(|()| Arc::clone(&self.token))
    }
}

impl Tokens {
    /// Reads a token of this hub that is good now as far as it says itself.
    ///
    /// # Errors
    /// [`Refusal::no_token`], [`Refusal::expired_token`].
    pub fn read(&self, hub: &Hub, shown: &str, now: Millis) -> Result<Arc<Token>, Refusal> {
        let tail = *shown.as_bytes().last_chunk().ok_or_else(Refusal::no_token)?;
        let known = {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            known.get(&tail).and_then(|known| known.token(shown))
        };
        let token = match known {
            Some(token) => token,
            None => {
                let claims = Claims::open(hub, shown).ok_or_else(Refusal::no_token)?;
                let token = Arc::new(Token {
                    caller: format!("application:{}", claims.application_id),
                    claims,
                    found: Mutex::new(None),
                });
                let remembered = Remembered {
                    shown: SecretString::from(shown),
                    token: Arc::clone(&token),
                };
                self.keep(tail, remembered, now);
                token
            }
        };
        match now < token.claims.expires_at {
            true => Ok(token),
            false => Err(Refusal::expired_token()),
        }
    }

    fn keep(&self, tail: [u8; TAIL], new: Remembered, now: Millis) {
        if new.token.claims.expires_at <= now {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MANY {
            known.retain(|_, known| now < known.token.claims.expires_at);
        }
        if known.len() >= MANY {
            known.clear();
        }
        known.insert(tail, new);
    }
}

/// An access token as it is answered (RFC 6749, section 5.1).
#[derive(Serialize)]
pub struct Granted {
    access_token: String,
    token_type: &'static str,
    /// In seconds.
    expires_in: Millis,
    /// In seconds since 1970.
    expires_at: Millis,
}

impl std::fmt::Debug for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Granted")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The id of a secret that is good, if it is one of the application's, and what that may do.
async fn known(
    hub: &Hub,
    application_id: &str,
    secret: &SecretString,
) -> Result<(String, DeveloperApi), Refusal> {
    let (id, hash, now) = (
        application_id.to_owned(),
        hash_token(secret.expose_secret()),
        hub.clock.now(),
    );
    let found = hub
        .db
        .read(move |tx| secrets::with_hash(tx, &id, &hash, now))
        .await?;
    found.ok_or_else(Refusal::client)
}

/// Gives an application an access token for one of its secrets (RFC 6749, section 4.4). That the secret was used is
/// noted.
///
/// # Errors
/// [`Refusal::client`], or what the database reports.
pub async fn grant(hub: &Hub, application_id: &str, secret: &SecretString) -> Result<Granted, Refusal> {
    let (secret_id, granted) = known(hub, application_id, secret).await?;
    let now = hub.clock.now();
    let noted = {
        let id = secret_id.clone();
        hub.db.write(move |tx| secrets::note_use(tx, &id, now))
    };
    if let Err(error) = noted.await {
        // Whoever may have a token gets one, noted or not.
        tracing::warn!(%error, "the use of a client secret is not noted");
    }
    let claims = Claims {
        id: id::make("atok", now, &*hub.random),
        application_id: application_id.to_owned(),
        secret_id,
        expires_at: now + LIFETIME * 1_000,
        requests_per_second: granted.requests_per_second,
    };
    let plain = serde_json::to_vec(&claims).map_err(|error| Refusal::internal(error.to_string()))?;
    let sealed = hub.master.seal(&plain, BOX, &*hub.random);
    Ok(Granted {
        access_token: format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed)),
        token_type: "Bearer",
        expires_in: LIFETIME,
        expires_at: claims.expires_at / 1_000,
    })
}

/// Makes an access token good for nothing. One that is no token of the application is as good as revoked (RFC 7009,
/// section 2.2).
///
/// # Errors
/// [`Refusal::client`] if whoever asks is not the application; what the database reports.
pub async fn revoke(
    hub: &Hub,
    application_id: &str,
    secret: &SecretString,
    shown: &str,
) -> Result<(), Refusal> {
    known(hub, application_id, secret).await?;
    let claims = Claims::open(hub, shown).filter(|claims| claims.application_id == application_id);
    let Some(claims) = claims else { return Ok(()) };
    let now = hub.clock.now();
    hub.db
        .write(move |tx| secrets::revoke_access_token(tx, &claims.id, claims.expires_at, now))
        .await?;
    Ok(())
}
