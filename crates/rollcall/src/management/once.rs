//! `ClientToken`: a call that makes something is carried out once, however often it is sent (Alibaba Cloud's RPC APIs,
//! "ensure idempotence").
//!
//! Whoever got no answer sends the same call again under the same token, within a day, signed anew, and gets the answer
//! that was given. A call that was refused has done nothing and is judged anew. Another call under the token is refused.

use serde_json::Value;

use crate::developer::{Desk, Given, Refusal};
use crate::once::{self, Begun, Kept};

/// How long a token may be.
const LONGEST: usize = 64;

const FIELD: &str = "clientToken";

/// The token of a call.
fn token(given: &Given) -> Result<Option<String>, Refusal> {
    let Some(token) = given.some(FIELD)? else {
        return Ok(None);
    };
    if token.len() > LONGEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message =
            format!("ClientToken may have {LONGEST} letters, digits and signs at most, without spaces");
        return Err(Refusal::invalid(FIELD, message));
    }
    Ok(Some(token))
}

/// Carries a call out, or gives the answer that it got before.
///
/// # Errors
/// [`Refusal`].
pub(super) async fn carry_out(
    desk: &Desk,
    action: &str,
    given: Given,
    call: impl AsyncFnOnce(Desk, Given) -> Result<Value, Refusal>,
) -> Result<Value, Refusal> {
    let Some(token) = token(&given)? else {
        return call(desk.clone(), given).await;
    };
    let hub = &desk.hub();
    let request = once::fingerprint(&[action.as_bytes(), given.without(FIELD).as_bytes()]);
    let once = match hub.begin_once(desk.principal(), token, request).await? {
        Begun::Now(once) => once,
        Begun::Answered(kept) => {
            return serde_json::from_slice(&kept.body).map_err(|error| Refusal::internal(error.to_string()));
        }
        Begun::Unanswered => {
            let message = "this was done by an earlier call with this ClientToken, whose answer is lost: look at what \
                           there is";
            return Err(Refusal::other(409, "IdempotentAnswerLost", message));
        }
        Begun::UnderWay => {
            let message = "the same call is being carried out: send it again in a while";
            return Err(Refusal {
                retry_after: Some(1),
                ..Refusal::other(409, "IdempotentProcessing", message)
            });
        }
        Begun::Other => {
            let message = "another call was sent with this ClientToken: every call needs a token of its own";
            return Err(Refusal::other(400, "IdempotentParameterMismatch", message));
        }
    };
    let answer = call(desk.under(once.clone()), given).await;
    let kept = answer.as_ref().ok().map(|body| Kept {
        status: 200,
        body: body.to_string().into_bytes(),
    });
    // What was done stays done, whether or not its answer can be kept.
    if let Err(error) = hub.answer_once(once, kept).await {
        tracing::warn!(%error, "what was answered under a ClientToken is not kept");
    }
    answer
}
