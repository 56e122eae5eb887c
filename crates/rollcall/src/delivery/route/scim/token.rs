//! The token that proves who the hub is: one that an administrator has made, or one that the hub gets for itself and
//! gets anew before it ends.

use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::application::scim::{Authentication, SecretIn};
use crate::clock::Millis;
use crate::delivery::egress::failure::{Failure, Form};
use crate::delivery::egress::{Egress, Reply, basic, form};
use crate::delivery::model::shorten;

/// So long before its end a token is got anew, so that none ends on its way.
const BEFORE_ITS_END: Millis = 60_000;

/// For how long a token is used of which nobody says when it ends.
const UNSAID: Millis = 300_000;

/// Gives the token for requests.
pub struct Tokens {
    authentication: Authentication,
    token_url: Option<Url>,
    secret: SecretString,
    got: Mutex<Option<Token>>,
}

/// A token that was got.
struct Token {
    header: HeaderValue,
    renew_at: Millis,
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    #[serde(default)]
    expires_in: Option<f64>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// With the token or the client's secret.
    pub fn new(authentication: Authentication, token_url: Option<Url>, secret: SecretString) -> Self {
        Self {
            authentication,
            token_url,
            secret,
            got: Mutex::new(None),
        }
    }

    /// The header `Authorization` for a request that is sent now. Whoever asks first gets a new token for all.
    ///
    /// # Errors
    /// Why there is no token.
    pub async fn header(&self, egress: &Egress, now: Millis) -> Result<HeaderValue, Failure> {
        let Authentication::ClientCredentials {
            client_id,
            method,
            scope,
            ..
        } = &self.authentication
        else {
            return bearer(&self.secret);
        };
        let mut got = self.got.lock().await;
        if let Some(token) = got.as_ref().filter(|token| now < token.renew_at) {
            return Ok(token.header.clone());
        }
        let Some(endpoint) = &self.token_url else {
            return Err(Failure::Unsealed("there is no token URL".to_owned()));
        };
        let secret = self.secret.expose_secret();
        let mut fields = vec![("grant_type", "client_credentials")];
        if let Some(scope) = scope {
            fields.push(("scope", scope));
        }
        let authorization = match method {
            SecretIn::Header => basic(endpoint, client_id, secret),
            SecretIn::Body => {
                fields.extend([("client_id", client_id.as_str()), ("client_secret", secret)]);
                None
            }
        };
        let reply = egress
            .post_form(endpoint, form(endpoint, &fields), authorization)
            .await?;
        let token = granted(&reply, now)?;
        let header = token.header.clone();
        *got = Some(token);
        Ok(header)
    }

    /// Whether another token may help against a refusal of this one; it is forgotten then.
    pub async fn forget(&self, refused: &HeaderValue) -> bool {
        if let Authentication::BearerToken = self.authentication {
            return false;
        }
        let mut got = self.got.lock().await;
        if got.as_ref().is_some_and(|token| token.header == refused) {
            *got = None;
        }
        true
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, Failure> {
    let header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
    let mut header = header.map_err(|_| {
        Failure::Unsealed("the token holds characters that cannot be sent; enter it again".to_owned())
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// The token of an answer. What was answered otherwise is not told in full: it could hold the token.
fn granted(reply: &Reply, now: Millis) -> Result<Token, Failure> {
    if reply.status != 200 {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        let said = serde_json::from_slice::<Refusal>(&reply.body).ok();
        return Err(Failure::Status {
            status: reply.status,
            said: Some(match said {
                Some(refusal) => format!("no token: {}", shorten(&refusal.error)),
                None => "no token".to_owned(),
            }),
            form: Form::Foreign(rollcall_protocol::Foreign::of(&reply.body)),
            retry_after: reply.retry_after,
        });
    }
    let granted: Granted = serde_json::from_slice(&reply.body)
        .map_err(|_| Failure::Unreadable("the answer of the token URL holds no access token".to_owned()))?;
    let lasts = granted.expires_in.map_or(UNSAID, |seconds| {
        // A number of seconds that is none lasts for nothing.
        (seconds.clamp(0.0, 31_536_000.0) * 1_000.0) as Millis
    });
    Ok(Token {
        header: bearer(&granted.access_token)?,
        // A token that lasts no longer than that is used for half of its time.
        renew_at: now + (lasts - BEFORE_ITS_END).max(lasts / 2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Reply {
        Reply {
            status: 200,
            body: body.as_bytes().to_vec(),
            complete: true,
            retry_after: None,
            location: None,
            etag: None,
        }
    }

    #[test]
    fn a_token_is_got_anew_before_it_ends() {
        for (body, renew_at) in [
            (r#"{"access_token":"a","expires_in":3600}"#, 1_000 + 3_540_000),
            (r#"{"access_token":"a","expires_in":80}"#, 1_000 + 40_000),
            (r#"{"access_token":"a"}"#, 1_000 + 240_000),
            (r#"{"access_token":"a","expires_in":-5}"#, 1_000),
        ] {
            assert_eq!(
                granted(&answer(body), 1_000).unwrap().renew_at,
                renew_at,
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_no_token_is_told_without_what_it_holds() {
        let error = granted(&answer(r#"{"token":"s3cret"}"#), 0).err().unwrap();
        assert!(!error.in_full().contains("s3cret"), "{error}");
        let refused = Reply {
            status: 401,
            ..answer(r#"{"error":"invalid_client","hint":"s3cret"}"#)
        };
        let error = granted(&refused, 0).err().unwrap().in_full();
        assert!(
            error.contains("invalid_client") && !error.contains("s3cret"),
            "{error}"
        );
    }
}
