//! The administrator's API of a hub that runs elsewhere.
//!
//! A request that only reads is sent again if no answer came. One that makes something bears an `Idempotency-Key`, so
//! that it may be sent again too, and is carried out once. Every other one is sent once: whether it was carried out is
//! told to whoever asked. Where the hub asks to wait (429, 503 and `Retry-After`), that is done a few times.

mod answer;
mod target;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderName, Method};
use reqwest::Response;
use rollcall_protocol::SystemRandom;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::api::{IDEMPOTENCY_KEY, ImportStep, MOST, Page, portions};
use crate::clock::Clock;
use crate::delivery::egress::Direct;
use crate::delivery::egress::failure::Failure;
use crate::id;
use crate::import::ImportReport;
use answer::{Answer, Index, Route, Unlike};
pub(in crate::cli) use answer::{Refused, SAME_VERSION, refused};
pub(in crate::cli) use target::Remote;
use target::Target;

/// How long the hub has for an answer. A change of scope over a large directory is planned within it.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// How often a request is sent at most.
const TRIES: u32 = 6;
/// For how long a request is sent again, in all.
const AGAIN_WITHIN: Duration = Duration::from_secs(120);
/// How long is waited before a request whose answer was lost is sent again; longer each time.
const PAUSE: Duration = Duration::from_millis(300);

/// A hub elsewhere.
pub(in crate::cli) struct Client {
    direct: Direct,
    target: Target,
    pub(super) clock: Clock,
}

impl Client {
    /// The client of the hub that options name.
    pub(in crate::cli) fn new(remote: &Remote) -> Result<Self> {
        let (target, authorities) = target::read(remote)?;
        Ok(Self {
            direct: Direct::new(&authorities)?,
            target,
            clock: Clock::system(),
        })
    }

    /// The way to the hub, for what it serves besides the API.
    pub(in crate::cli) fn direct(&self) -> Direct {
        self.direct.clone()
    }

    pub(in crate::cli) fn get(&self, path: &[&str]) -> Request<'_> {
        self.request(Method::GET, path)
    }

    pub(in crate::cli) fn post(&self, path: &[&str]) -> Request<'_> {
        self.request(Method::POST, path)
    }

    pub(in crate::cli) fn patch(&self, path: &[&str]) -> Request<'_> {
        self.request(Method::PATCH, path)
    }

    pub(in crate::cli) fn delete(&self, path: &[&str]) -> Request<'_> {
        self.request(Method::DELETE, path)
    }

    fn request(&self, method: Method, path: &[&str]) -> Request<'_> {
        Request {
            client: self,
            method,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query: Vec::new(),
            body: Content::Nothing,
            key: None,
            within: Some(ANSWER_WITHIN),
        }
    }

    /// The entries of a list: so many, or all there are if they are fewer.
    pub(in crate::cli) async fn list<T: DeserializeOwned>(
        &self,
        request: Request<'_>,
        wanted: usize,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        let mut pages = Pages::of(request);
        while found.len() < wanted
            && let Some(page) = pages.next(wanted - found.len()).await?
        {
            found.extend(page);
        }
        found.truncate(wanted);
        Ok(found)
    }
}

/// The pages of a list, one after the other.
pub(in crate::cli) struct Pages<'a> {
    request: Request<'a>,
    cursor: Option<String>,
    ended: bool,
}

impl<'a> Pages<'a> {
    pub(in crate::cli) fn of(request: Request<'a>) -> Self {
        Self {
            request,
            cursor: None,
            ended: false,
        }
    }

    /// Whether there are more.
    pub(in crate::cli) fn has_more(&self) -> bool {
        !self.ended
    }

    /// The next page, with so many entries at most; `None` after the last one. One may be empty and not the last.
    pub(in crate::cli) async fn next<T: DeserializeOwned>(&mut self, most: usize) -> Result<Option<Vec<T>>> {
        if self.ended {
            return Ok(None);
        }
        let request = self
            .request
            .clone()
            .with("limit", most.clamp(1, MOST))
            .with_some("cursor", self.cursor.take());
        let Page { items, next } = request.answer().await?;
        self.ended = next.is_none();
        self.cursor = next;
        Ok(Some(items))
    }
}

/// What a request brings.
#[derive(Clone)]
enum Content {
    Nothing,
    Json(Vec<u8>),
    /// What is in this file.
    File(PathBuf),
}

/// A request that is not sent yet.
#[derive(Clone)]
pub(in crate::cli) struct Request<'a> {
    client: &'a Client,
    method: Method,
    /// The parts of the path below the prefix, as they are.
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Content,
    /// Under which key it is carried out once, however often it is sent.
    key: Option<String>,
    /// How long the hub has for the answer; `None`: as long as it takes.
    within: Option<Duration>,
}

impl Request<'_> {
    /// A parameter behind the question mark.
    pub(in crate::cli) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// The same, if there is a value.
    pub(in crate::cli) fn with_some(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// A body.
    pub(in crate::cli) fn body(self, body: &impl Serialize) -> Result<Self> {
        Ok(Self {
            body: Content::Json(serde_json::to_vec(body)?),
            ..self
        })
    }

    /// A file as the body. It is sent in portions.
    pub(in crate::cli) fn file(self, file: &Path) -> Self {
        Self {
            body: Content::File(file.to_owned()),
            ..self
        }
    }

    /// Has the request carried out once, although it may be sent several times.
    pub(in crate::cli) fn once(self) -> Self {
        Self {
            key: Some(id::make("cli", self.client.clock.now(), &SystemRandom)),
            ..self
        }
    }

    /// Gives the hub as long as it takes.
    pub(in crate::cli) fn patiently(self) -> Self {
        Self { within: None, ..self }
    }

    /// Sends it, and reads the answer.
    ///
    /// # Errors
    /// [`Refused`].
    pub(in crate::cli) async fn answer<T: DeserializeOwned>(self) -> Result<T> {
        match self.send(&mut |_| {}).await?.read() {
            Ok(read) => Ok(read),
            Err(unlike) => Err(self.explain(unlike).await.into()),
        }
    }

    /// Sends it, and tells what is imported and how many entries are done as the answer comes.
    ///
    /// # Errors
    /// [`Refused`].
    pub(in crate::cli) async fn import(self, progress: impl Fn(&str, u64)) -> Result<ImportReport> {
        let mut ended = None;
        let mut line = |line: &[u8]| match serde_json::from_slice(line) {
            Ok(ImportStep::Progress { what, done }) => progress(&what, done),
            Ok(end) => ended = Some(end),
            Err(_) => {}
        };
        let answer = self.send(&mut line).await?;
        let answer = match ended {
            Some(ImportStep::Report(report)) => return Ok(*report),
            Some(ImportStep::Problem(problem)) => Answer::of_problem(&problem),
            Some(ImportStep::Progress { .. }) | None => answer,
        };
        match answer.read() {
            Ok(report) => Ok(report),
            Err(unlike) => Err(self.explain(unlike).await.into()),
        }
    }

    /// Sends it, and writes the answer into a file as it comes. Returns what a header of the answer says; an answer
    /// without it is none.
    ///
    /// # Errors
    /// [`Refused`], or what the file says.
    pub(in crate::cli) async fn download(self, header: &HeaderName, mut sink: impl Write) -> Result<String> {
        let failed = |failure: Failure| self.failed(&failure, false);
        let mut response = self.open().await.map_err(failed)?;
        let said = response.headers().get(header);
        let said = said.map(|said| String::from_utf8_lossy(said.as_bytes()).into_owned());
        let Some(said) = said else {
            let answer = Answer::receive(response, self.client.clock.now(), &mut |_| {}).await;
            return match answer.map_err(failed)?.read::<IgnoredAny>() {
                Ok(_) => Err(answer::no_hub(&self.client.target.place(), "it exports nothing").into()),
                Err(unlike) => Err(self.explain(unlike).await.into()),
            };
        };
        while let Some(portion) = Direct::portion(&mut response).await.map_err(failed)? {
            sink.write_all(&portion)?;
        }
        sink.flush()?;
        Ok(said)
    }

    /// Whether it may be sent again if nobody knows whether it was carried out.
    fn is_safe(&self) -> bool {
        self.method == Method::GET || self.key.is_some()
    }

    /// Sends it until there is an answer with which something can be done. Of one that is told line by line each line is
    /// handed on as it comes.
    async fn send(&self, line: &mut dyn FnMut(&[u8])) -> Result<Answer, Refused> {
        let (mut tries, mut waited, mut lost) = (0, Duration::ZERO, false);
        loop {
            tries += 1;
            let sent = self.send_once(line).await;
            let pause = match &sent {
                Ok(answer) => answer.wants_again(self.is_safe(), self.key.is_some()),
                Err(failure) => {
                    lost |= answer::is_lost(failure);
                    // A hub that has just gone is perhaps starting again.
                    (lost && self.is_safe()).then(|| PAUSE * tries)
                }
            };
            match pause {
                Some(pause) if tries < TRIES && waited + pause <= AGAIN_WITHIN => {
                    tokio::time::sleep(pause).await;
                    waited += pause;
                }
                _ => return sent.map_err(|failure| self.failed(&failure, lost)),
            }
        }
    }

    async fn send_once(&self, line: &mut dyn FnMut(&[u8])) -> Result<Answer, Failure> {
        Answer::receive(self.open().await?, self.client.clock.now(), line).await
    }

    /// Sends it once, and waits for the head of the answer.
    async fn open(&self) -> Result<Response, Failure> {
        let Client { direct, target, .. } = self.client;
        let mut request = direct
            .request(self.method.clone(), target.url(&self.path, &self.query))
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, target.token.clone());
        request = match &self.body {
            Content::Nothing => request,
            Content::Json(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone()),
            Content::File(path) => {
                let file = File::open(path);
                let file = file.map_err(|error| Failure::Unsealed(format!("{}: {error}", path.display())))?;
                request
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .body(reqwest::Body::wrap_stream(portions(file)))
            }
        };
        if let Some(key) = &self.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(within) = self.within {
            request = request.timeout(within);
        }
        direct.send(request).await
    }

    /// Why there is no answer.
    fn failed(&self, failure: &Failure, lost: bool) -> Refused {
        let place = self.client.target.place();
        answer::failed(&place, failure, lost && self.method != Method::GET)
    }

    /// Why an answer is none with which something can be done. What a hub of another version has is looked up there.
    async fn explain(&self, unlike: Unlike) -> Refused {
        let place = self.client.target.place();
        let route = Route {
            method: self.method.as_str(),
            path: &self.path,
        };
        let doubtful = match &unlike {
            Unlike::Problem(problem) => problem.may_be_of_another_version(),
            Unlike::Unreadable(_) => true,
            Unlike::Foreign(_) => false,
        };
        let index = match doubtful {
            true => self.index().await,
            false => None,
        };
        match (unlike, index) {
            (Unlike::Problem(_), Some(index)) if !index.has(&route) => index.lacks(&place, &route),
            // Not even what the API has can be read there: perhaps the path is wrong.
            (Unlike::Problem(problem), None) if problem.may_be_missing_route() => {
                answer::no_hub(&place, &problem.detail)
            }
            (Unlike::Problem(problem), index) => {
                let refused = problem.refused(&route, &self.client.target);
                refused.or_hint(index.and_then(|index| index.hint()))
            }
            (Unlike::Unreadable(what), Some(index)) => index.unlike(&place, &what),
            (Unlike::Unreadable(what) | Unlike::Foreign(what), _) => answer::no_hub(&place, &what),
        }
    }

    /// What the hub says that its API has.
    async fn index(&self) -> Option<Index> {
        let request = self.client.get(&[]);
        request.send(&mut |_| {}).await.ok()?.read().ok()
    }
}
