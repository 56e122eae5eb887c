//! What a handler takes and answers, read from its signature: the description of a route cannot differ from what it
//! does.

use std::future::Future;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use super::ApiError;
use super::admin::{ImportStep, Imported};
use super::door::Door;
use super::extract::{self, Body, Fields, FromFields, Path, Query};
use super::paging::{Listed, Page, Paging};
use super::versions::Record;
use crate::import::ImportReport;

/// Makes the schema of a type.
type Make = fn(&mut SchemaGenerator) -> Schema;

/// Reads a body as a handler would, and says what is wrong with it.
pub(super) type Read = fn(Bytes) -> Result<(), ApiError>;

/// What the body of a request is.
#[derive(Clone, Debug)]
pub(super) enum Taken {
    /// JSON of this schema, and how it is read.
    Json(Make, Read),
    /// A file.
    File,
}

/// What the body of an answer is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// JSON of this schema.
    Json(Make),
    /// The same, or JSON of another schema on each line.
    JsonOrLines(Make, Make),
    /// A file.
    File,
}

/// What a handler takes and answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Signature {
    /// The body of the request.
    pub(super) takes: Option<Taken>,
    /// What stands behind the question mark.
    pub(super) query: Option<Make>,
    /// Whether it answers page by page.
    pub(super) is_paged: bool,
    /// The body of the answer.
    pub(super) answers: Option<Content>,
    /// Whether the answer bears a version.
    pub(super) is_versioned: bool,
    /// Whether the answer may set a cookie.
    pub(super) sets_cookie: bool,
}

impl Signature {
    /// The names of what may stand behind the question mark.
    pub(super) fn names(&self) -> Vec<String> {
        let schema = self.query.map(|make| make(&mut SchemaGenerator::default()));
        let fields = schema.as_ref().and_then(|schema| schema.get("properties"));
        let mut names: Vec<String> = fields
            .and_then(|fields| fields.as_object())
            .map(|fields| fields.keys().cloned().collect())
            .unwrap_or_default();
        names.sort_unstable();
        if self.is_paged {
            names.extend(["cursor", "limit"].map(str::to_owned));
        }
        names
    }
}

/// Something that a handler takes.
pub(super) trait Input {
    /// Notes what it is.
    fn tell(_: &mut Signature) {}
}

impl Input for Door {}
impl Input for Parts {}
impl<S> Input for State<S> {}
impl<T> Input for Path<T> {}

impl<T: DeserializeOwned + JsonSchema> Input for Body<T> {
    fn tell(signature: &mut Signature) {
        signature.takes = Some(Taken::Json(T::json_schema, extract::read::<Self>));
    }
}

impl<T: FromFields> Input for Fields<T> {
    fn tell(signature: &mut Signature) {
        signature.takes = Some(Taken::Json(T::json_schema, extract::read::<Self>));
    }
}

impl Input for Request {
    fn tell(signature: &mut Signature) {
        signature.takes = Some(Taken::File);
    }
}

impl<T: JsonSchema> Input for Query<T> {
    fn tell(signature: &mut Signature) {
        signature.query = Some(T::json_schema);
    }
}

impl<P> Input for Paging<P> {
    fn tell(signature: &mut Signature) {
        signature.is_paged = true;
    }
}

/// Something that a handler answers.
pub(super) trait Output {
    /// Notes what it is.
    fn tell(signature: &mut Signature);
}

impl<T: Output> Output for Result<T, ApiError> {
    fn tell(signature: &mut Signature) {
        T::tell(signature);
    }
}

fn answer<T: JsonSchema>(signature: &mut Signature) {
    signature.answers = Some(Content::Json(|generator| generator.subschema_for::<T>()));
}

impl<T: JsonSchema> Output for Json<T> {
    fn tell(signature: &mut Signature) {
        answer::<T>(signature);
    }
}

impl<T: JsonSchema> Output for (HeaderMap, Json<T>) {
    fn tell(signature: &mut Signature) {
        answer::<T>(signature);
        signature.sets_cookie = true;
    }
}

impl<T: JsonSchema> Output for Record<T> {
    fn tell(signature: &mut Signature) {
        answer::<T>(signature);
        signature.is_versioned = true;
    }
}

impl<T: JsonSchema> Output for Listed<T> {
    fn tell(signature: &mut Signature) {
        answer::<Page<T>>(signature);
    }
}

/// A file that is sent.
pub(super) struct Sent(pub(super) axum::response::Response);

impl axum::response::IntoResponse for Sent {
    fn into_response(self) -> axum::response::Response {
        self.0
    }
}

impl Output for Imported {
    fn tell(signature: &mut Signature) {
        signature.answers = Some(Content::JsonOrLines(
            |generator| generator.subschema_for::<ImportReport>(),
            |generator| generator.subschema_for::<ImportStep>(),
        ));
    }
}

impl Output for Sent {
    fn tell(signature: &mut Signature) {
        signature.answers = Some(Content::File);
    }
}

/// A handler whose signature tells what it takes and answers.
pub(super) trait Signed<T> {
    /// What it tells.
    fn signature() -> Signature;
}

macro_rules! signed {
    ($($input:ident)*) => {
        impl<F, R, $($input),*> Signed<($($input,)*)> for F
        where
            F: Fn($($input),*) -> R,
            R: Future,
            R::Output: Output,
            $($input: Input),*
        {
            fn signature() -> Signature {
                let mut signature = Signature::default();
                $($input::tell(&mut signature);)*
                R::Output::tell(&mut signature);
                signature
            }
        }
    };
}

signed!(A);
signed!(A B);
signed!(A B C);
signed!(A B C D);
