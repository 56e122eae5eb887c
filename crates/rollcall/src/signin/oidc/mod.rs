//! Signing in at a provider (OpenID Connect Core 1.0, authorization code flow with PKCE).
//!
//! [`SignIn::leave`] makes the address at the provider that a browser goes to, and what it keeps meanwhile, sealed
//! ([`Flight`]). [`SignIn::arrive`] takes what the provider sends the browser back with, and makes a session of it:
//!
//! - **state** ties the answer to the browser that left, **nonce** ties the ID token to that departure, the code
//!   verifier ties the code to it (RFC 7636), and `iss` tells providers apart (RFC 9207).
//! - The code is exchanged for an ID token over a connection of the hub's own, and the token is taken only if a key of
//!   the provider has signed it for this client ([`id_token`]). No other token is asked for, and none is kept.
//! - Issuer and subject tell which account it is. What role it has is what the claim says ([`grant`]), at every sign-in.
//!
//! The provider's documents are fetched when they are needed ([`documents`]), so the hub neither waits for the provider
//! nor falls with it.

mod documents;
mod flight;
mod grant;
mod id_token;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use rollcall_db::DbError;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{SignIn, SignInError, SignedIn, Visitor};
use crate::access::{Caller, Role};
use crate::accounts::throttle::{self, Try};
use crate::accounts::{self, AccountError, Arrival, Command, Identity};
use crate::clock::{Clock, Millis};
use crate::delivery::egress::{Egress, basic, form};
use crate::secret::{ExposeSecret as _, NewToken, SecretString, hash_token};
pub use documents::Unavailable;
use documents::{Documents, Metadata};
use flight::Flight;
pub use grant::Grant;
use id_token::{Claims, Expected, TokenFault};

/// Where the provider sends browsers back to, in the console.
pub const RETURN: &str = "/console/sign-in/return";

/// Where browsers go after they have signed out at the provider.
pub const SIGNED_OUT: &str = "/console/sign-in";

/// How many may arrive at once: each of them waits for the provider.
const AT_ONCE: usize = 32;

/// How a provider is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// The provider, exactly as it writes itself.
    pub issuer: String,
    /// What the hub is called there.
    pub client_id: String,
    /// What the hub shows there; a public client has none.
    pub client_secret: Option<SecretString>,
    /// What is asked for, `openid` among it.
    pub scopes: Vec<String>,
    /// Where the console is for people, without a slash at its end.
    pub console_url: String,
    /// The claim that holds what somebody is; `roles`, or else `groups`, if none is named.
    pub roles_claim: Option<String>,
    /// What its values permit.
    pub roles: BTreeMap<String, Grant>,
    /// The claim by which a new account is called.
    pub name_claim: String,
    /// What stands on the button.
    pub label: Option<String>,
    /// Whom somebody is to ask who is refused.
    pub contact: Option<String>,
    /// After how long somebody has to come back to the provider at the latest.
    pub session: Millis,
    /// Whether people may sign in with passwords as well.
    pub passwords: bool,
    /// How long the provider has for each answer.
    pub patience: Duration,
}

/// Whether the hub may call an address of a provider: others could read along, or answer, unless it is encrypted or does
/// not leave the machine.
pub fn is_private(url: &Url) -> bool {
    let is_loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback,
        _ => false,
    }
}

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// There is no provider.
    #[error("there is no provider to sign in at")]
    Off,
    /// The provider cannot be asked, or answers what nobody understands.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The provider has signed nobody in, for this reason (RFC 6749, section 4.1.2.1).
    #[error("the provider has refused: {0}")]
    Refused(String),
    /// The answer does not belong to a departure of this browser, or comes too late.
    #[error("the answer belongs to no sign-in that this browser has begun of late")]
    Stale,
    /// The ID token cannot be trusted.
    #[error("the ID token is not accepted: {0}")]
    Token(#[from] TokenFault),
    /// Nothing that the claim holds is mapped to a role.
    #[error("nothing that the claim {claim} holds is mapped to a role")]
    NoRole {
        /// The claim.
        claim: String,
        /// What it holds.
        held: Vec<String>,
    },
    /// There is no name to call a new account by.
    #[error("the claim {0} holds no name for a new account")]
    NoName(String),
    /// A new account cannot be called so, because another one is.
    #[error("another account is called {name}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who came.
        subject: String,
    },
    /// Whatever else keeps people from signing in.
    #[error(transparent)]
    SignIn(#[from] SignInError),
}

impl From<DbError> for OidcError {
    fn from(error: DbError) -> Self {
        Self::SignIn(error.into())
    }
}

/// A browser that is on its way to the provider.
#[derive(Debug)]
pub struct Departure {
    /// Where it goes.
    pub url: Url,
    /// What it shows when it is back; sealed.
    pub kept: SecretString,
}

/// For how many seconds a browser may be away.
pub const AWAY: Millis = flight::AWAY / 1_000;

/// What the provider sends a browser back with.
#[derive(Default, Deserialize)]
pub struct Answer {
    #[serde(default)]
    state: String,
    code: Option<SecretString>,
    error: Option<String>,
    iss: Option<String>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer(…)")
    }
}

/// Where people sign in besides the hub.
#[derive(Debug)]
pub struct Provider {
    options: Options,
    egress: Egress,
    clock: Clock,
    documents: Documents,
    arriving: Semaphore,
}

impl Provider {
    /// Of these options. Nothing is asked of it yet.
    pub fn new(options: Options, egress: Egress, clock: Clock) -> Self {
        let documents = Documents::new(&options.issuer, egress.clone(), clock.clone(), options.patience);
        Self {
            options,
            egress,
            clock,
            documents,
            arriving: Semaphore::new(AT_ONCE),
        }
    }

    /// What stands on the button, if that is configured.
    pub fn label(&self) -> Option<&str> {
        self.options.label.as_deref()
    }

    /// Whom somebody is to ask who is refused, if that is configured.
    pub fn contact(&self) -> Option<&str> {
        self.options.contact.as_deref()
    }

    /// Whether people may sign in with passwords as well.
    pub fn beside_passwords(&self) -> bool {
        self.options.passwords
    }

    /// Where a browser signs out of the provider; `None` if the provider offers no such place, or cannot be asked.
    pub async fn end_session(&self) -> Option<Url> {
        let metadata = self.documents.metadata().await.ok()?;
        let mut url = metadata.end_session_endpoint.clone()?;
        let after = format!("{}{SIGNED_OUT}", self.options.console_url);
        url.query_pairs_mut()
            .append_pair("client_id", &self.options.client_id)
            .append_pair("post_logout_redirect_uri", &after);
        Some(url)
    }

    fn return_url(&self) -> String {
        format!("{}{RETURN}", self.options.console_url)
    }

    /// Exchanges a code for an ID token (RFC 6749, section 4.1.3).
    async fn exchange(
        &self,
        metadata: &Metadata,
        code: &SecretString,
        flight: &Flight,
    ) -> Result<SecretString, OidcError> {
        #[derive(Deserialize)]
        struct Tokens {
            id_token: SecretString,
        }
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        let Options {
            client_id,
            client_secret,
            ..
        } = &self.options;
        let return_url = self.return_url();
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", return_url.as_str()),
            ("code_verifier", flight.verifier.as_str()),
        ];
        let mut authorization = None;
        match client_secret {
            Some(secret) if metadata.takes_basic() => {
                authorization = basic(&metadata.token_endpoint, client_id, secret.expose_secret());
            }
            Some(secret) => fields.extend([
                ("client_id", client_id.as_str()),
                ("client_secret", secret.expose_secret()),
            ]),
            None => fields.push(("client_id", client_id)),
        }
        let endpoint = &metadata.token_endpoint;
        let sending = self
            .egress
            .post_form(endpoint, form(endpoint, &fields), authorization);
        let reply = documents::in_time(self.options.patience, sending).await?;
        if !reply.complete {
            return Err(Unavailable::too_long().into());
        }
        if reply.status != 200 {
            return Err(match serde_json::from_slice::<Refusal>(&reply.body) {
                Ok(refusal) if reply.status < 500 => OidcError::Refused(short(&refusal.error)),
                _ => Unavailable::status(reply.status).into(),
            });
        }
        match serde_json::from_slice::<Tokens>(&reply.body) {
            Ok(tokens) => Ok(tokens.id_token),
            // The reason could tell of the token.
            Err(_) => Err(Unavailable::malformed("the answer to the code holds no ID token").into()),
        }
    }

    /// The claims of an ID token, if it can be trusted. Keys are fetched again for a token that none of the known ones
    /// has signed: the provider may have others by now.
    async fn claims(
        &self,
        metadata: &Metadata,
        token: &SecretString,
        nonce: &str,
    ) -> Result<Claims, OidcError> {
        let expected = Expected {
            issuer: &self.options.issuer,
            client_id: &self.options.client_id,
            nonce,
            now: self.clock.now(),
        };
        let token = token.expose_secret();
        let known = self.documents.keys(metadata, None).await?;
        match id_token::verify(token, &known, &expected) {
            Err(TokenFault::UnknownKey) => {}
            verified => return Ok(verified?),
        }
        let newer = self.documents.keys(metadata, Some(&known)).await?;
        Ok(id_token::verify(token, &newer, &expected)?)
    }
}

/// A text of a stranger's, as far as it is shown and logged.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

fn same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

impl SignIn {
    /// Sends a browser to the provider, which is to come back to `next` in the end.
    ///
    /// # Errors
    /// [`OidcError`].
    pub async fn leave(&self, next: &str) -> Result<Departure, OidcError> {
        let provider = self.provider().ok_or(OidcError::Off)?;
        let metadata = provider.documents.metadata().await.inspect_err(|error| {
            tracing::warn!(%error, "the provider that people sign in at cannot be asked");
        })?;
        let random = || {
            let token = NewToken::generate("", &*self.hub.random).text;
            token.expose_secret().to_owned()
        };
        let flight = Flight {
            state: random(),
            nonce: random(),
            verifier: random(),
            next: next.to_owned(),
            until: self.hub.clock.now().saturating_add(flight::AWAY),
        };
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, flight.verifier.as_bytes()));
        let mut url = metadata.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.options.client_id)
            .append_pair("redirect_uri", &provider.return_url())
            .append_pair("scope", &provider.options.scopes.join(" "))
            .append_pair("state", &flight.state)
            .append_pair("nonce", &flight.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(Departure {
            url,
            kept: flight.seal(&self.hub),
        })
    }

    /// Begins a session for a browser that the provider has sent back, and says where it wanted to go. `kept` is what the
    /// browser kept meanwhile; the session whose token it has `shown` ends.
    ///
    /// # Errors
    /// [`OidcError`].
    pub async fn arrive(
        &self,
        answer: &Answer,
        kept: Option<&str>,
        from: &Visitor,
        shown: Option<&str>,
    ) -> Result<(SignedIn, String), OidcError> {
        let arrived = self.try_arrive(answer, kept, from, shown).await;
        if let Err(error) = &arrived {
            match error {
                OidcError::SignIn(SignInError::Account(AccountError::Database(_))) => {}
                // What a claim holds is personal data.
                error => tracing::info!(reason = %error.summary(), "a sign-in at the provider failed"),
            }
        }
        arrived
    }

    async fn try_arrive(
        &self,
        answer: &Answer,
        kept: Option<&str>,
        from: &Visitor,
        shown: Option<&str>,
    ) -> Result<(SignedIn, String), OidcError> {
        let provider = self.provider().ok_or(OidcError::Off)?;
        let _place = provider.arriving.try_acquire().map_err(|_| SignInError::Busy)?;
        let (attempt, now) = (Try::at_provider(from.address), self.hub.clock.now());
        let of = attempt.clone();
        let begun = self.hub.db.write(move |tx| throttle::begin(tx, &of, now));
        begun.await?.map_err(SignInError::TooEarly)?;
        let flight = kept.and_then(|kept| Flight::open(kept, &self.hub));
        let flight = flight.filter(|flight| now < flight.until && same(&flight.state, &answer.state));
        let flight = flight.ok_or(OidcError::Stale)?;
        let metadata = provider.documents.metadata().await?;
        match &answer.iss {
            Some(issuer) if *issuer != provider.options.issuer => return Err(TokenFault::Issuer.into()),
            None if metadata.names_itself => return Err(TokenFault::Issuer.into()),
            _ => {}
        }
        if let Some(error) = &answer.error {
            return Err(OidcError::Refused(short(error)));
        }
        let code = answer.code.as_ref().ok_or(OidcError::Stale)?;
        let token = provider.exchange(&metadata, code, &flight).await?;
        let claims = provider.claims(&metadata, &token, &flight.nonce).await?;
        let signed_in = self.welcome(provider, &claims, attempt, from, shown).await?;
        Ok((signed_in, flight.next))
    }

    /// Begins a session for whoever the claims are about.
    async fn welcome(
        &self,
        provider: &Provider,
        claims: &Claims,
        attempt: Try,
        from: &Visitor,
        shown: Option<&str>,
    ) -> Result<SignedIn, OidcError> {
        let identity = Identity {
            issuer: provider.options.issuer.clone(),
            subject: claims.subject.clone(),
        };
        let (claim, held) = grant::held(&claims.all, provider.options.roles_claim.as_deref());
        let granted = grant::granted(&held, &provider.options.roles);
        let name = claims
            .text(&provider.options.name_claim)
            .unwrap_or_default()
            .to_owned();
        let lives = provider.options.session.min(self.lifetime.absolute);
        let (session, token) = self.new_session(from, lives);
        let (display_name, email, before) = (claims.display_name(), claims.email(), shown.map(hash_token));
        let who = identity.clone();
        let arrival = move |role: Role| Arrival {
            identity: who.clone(),
            name: name.clone(),
            display_name: display_name.clone(),
            email: email.clone(),
            role,
            session: session.clone(),
            before: before.clone(),
        };
        let caller = || Caller::system("sign-in").from_there(from.origin.clone());
        let begun = self.hub.write_as(caller(), move |tx, ctx| {
            let Some(role) = granted
                .as_ref()
                .map(|granted| granted.role(tx))
                .transpose()?
                .flatten()
            else {
                return Ok(None);
            };
            throttle::succeed(tx, &attempt)?;
            let command = Command::SignInElsewhere(arrival(role));
            let (session, account) = accounts::apply(tx, ctx, &command)?.session()?;
            let authority = accounts::authority(tx, &account.role)?;
            Ok::<_, AccountError>(Some((session, account, authority)))
        });
        let error = match begun.await {
            Ok(Some((session, account, authority))) => {
                return Ok(SignedIn::of(token, session, account, authority));
            }
            Ok(None) => OidcError::NoRole { claim, held },
            Err(AccountError::NameTaken(name)) => {
                let subject = identity.subject;
                return Err(OidcError::NameTaken { name, subject });
            }
            Err(AccountError::InvalidField { field: "name", .. }) => {
                return Err(OidcError::NoName(provider.options.name_claim.clone()));
            }
            Err(error) => SignInError::from(error).into(),
        };
        // The provider has just taken the role that the sessions were begun with.
        let gone = matches!(
            &error,
            OidcError::NoRole { .. }
                | OidcError::SignIn(SignInError::Account(AccountError::LastAdministrator(_)))
        );
        if gone {
            let ended = self.hub.write_as(caller(), move |tx, ctx| {
                let Some(account) = accounts::with_identity(tx, &identity)? else {
                    return Ok(());
                };
                let end = Command::EndSessions {
                    account_id: account.id,
                };
                accounts::apply(tx, ctx, &end).map(drop)
            });
            ended.await.map_err(SignInError::from)?;
        }
        Err(error)
    }
}

impl OidcError {
    /// What happened, without what a provider says of anybody.
    fn summary(&self) -> String {
        match self {
            Self::NameTaken { .. } => "another account has the name".to_owned(),
            other => other.to_string(),
        }
    }
}
