//! An application in the SCIM mode: its parameters, the way to it, and what is known of it while requests are on their
//! way.

use std::collections::HashMap;
use std::sync::Arc;

use reqwest::Url;
use rollcall_db::{DbError, Tx};
use rollcall_protocol::{Foreign, SubjectKind};
use rollcall_scim::client::{Call, Managed, Reply};

use super::carry::{Broken, Carrier, Outside};
use super::client::{Answer, Client, LARGE, between};
use super::managed_of_groups;
use super::memory::{Key, Memory};
use super::token::Tokens;
use super::work::Work;
use crate::application::scim::{Action, Checked, Scim};
use crate::application::{Application, store};
use crate::delivery::egress::ANSWER_LIMIT;
use crate::delivery::egress::failure::Failure;
use crate::delivery::ledger::remote;
use crate::delivery::model::{Outgoing, Remembered, Remote, Verdict};
use crate::delivery::route::callback::Judged;
use crate::delivery::route::{BreakOff, Going};
use crate::delivery::shared::Shared;
use crate::directory::query;
use crate::hub::Hub;

/// How much is kept of what was learned before it is looked whether the database has it. More than can be waiting to be
/// settled.
const KEPT: usize = 40_000;

/// An application in the SCIM mode.
#[derive(Debug)]
pub struct Provider {
    application_id: String,
    scim: Scim,
    checked: Checked,
    of_groups: Managed,
    /// None without a secret.
    client: Option<Client>,
    memory: Memory,
}

/// Why a request was broken off.
#[derive(Debug)]
pub(in crate::delivery) enum Stop {
    /// Nothing came back, or it is about the whole.
    Failure(Failure),
    /// The database does not do its part.
    Database(DbError),
    /// No more may be sent.
    Broken(BreakOff),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What came of a request.
#[derive(Debug)]
pub(in crate::delivery) struct Carried {
    /// What is decided of each event.
    pub(in crate::delivery) verdicts: Vec<Option<Verdict>>,
    /// What was learned.
    pub(in crate::delivery) remembered: Vec<Remembered>,
    /// How many HTTP requests were sent.
    pub(in crate::delivery) requests: u32,
    /// Why not everything is decided.
    pub(in crate::delivery) stop: Option<Stop>,
}

impl Provider {
    /// Loads what is needed.
    ///
    /// # Errors
    /// What the database reports; also if the secret does not open under the master key.
    pub(in crate::delivery::route) fn load(
        tx: &mut Tx<'_>,
        application: &Application,
        scim: &Scim,
        hub: &Hub,
    ) -> Result<Self, DbError> {
        let checked = scim
            .check()
            .map_err(|error| DbError::Other(format!("application {}: {error}", application.name)))?;
        let secret = store::secret(tx, &application.id, &hub.master)?;
        let client = secret.map(|secret| {
            let tokens = Tokens::new(scim.authentication.clone(), checked.token_url.clone(), secret);
            let pace = hub.paces.of(&application.id, between(&scim.profile));
            Client::new(checked.base_url.clone(), tokens, pace)
        });
        Ok(Self {
            application_id: application.id.clone(),
            scim: scim.clone(),
            checked,
            of_groups: managed_of_groups(),
            client,
            memory: Memory::default(),
        })
    }

    /// The parameters.
    pub(in crate::delivery) fn parameters(&self) -> &Scim {
        &self.scim
    }

    /// Whether what users are there depends on the name of their unit.
    pub(in crate::delivery::route) fn names_units(&self) -> bool {
        self.scim.does(Action::Update) && self.checked.users.reads("primaryUnit")
    }

    /// The parameters, checked.
    pub(in crate::delivery) fn checked(&self) -> &Checked {
        &self.checked
    }

    /// Which attributes the hub sets.
    pub(in crate::delivery) fn managed(&self, kind: SubjectKind) -> &Managed {
        match kind {
            SubjectKind::Group => &self.of_groups,
            SubjectKind::User | SubjectKind::Unit => &self.checked.managed,
        }
    }

    /// Reads something that may be large: a page of a list, or a group with its members.
    pub(in crate::delivery) async fn read(&self, shared: &Shared, call: &Call) -> Result<Answer, Failure> {
        let client = self.client()?;
        let always = || Ok::<_, Failure>(());
        let (egress, clock) = (&shared.egress, &shared.hub.clock);
        client.send_while(egress, clock, call, LARGE, always).await
    }

    /// Sends a request that belongs to no batch.
    pub(in crate::delivery) async fn ask(&self, shared: &Shared, call: &Call) -> Result<Answer, Failure> {
        let client = self.client()?;
        client.send(&shared.egress, &shared.hub.clock, call).await
    }

    /// The base URL.
    pub(in crate::delivery) fn url(&self) -> &Url {
        &self.checked.base_url
    }

    /// Asks whether the application takes requests at all: for a user whom nobody has.
    pub(in crate::delivery::route) async fn test(
        &self,
        shared: &Shared,
        nobody: &str,
    ) -> Result<Judged, Failure> {
        let call = Call::get("Users", vec![("filter", format!("userName eq \"{nobody}\""))]);
        let answer = self.ask(shared, &call).await?;
        if let Some(failure) = answer.failure {
            return Err(failure);
        }
        let is_list = answer.reply.body.is_some_and(|body| body.is_object());
        Ok(Judged {
            verdicts: vec![Verdict::Accepted],
            foreign: (!is_list).then(|| Foreign::of(&[])),
            strangers: Vec::new(),
        })
    }

    fn client(&self) -> Result<&Client, Failure> {
        let missing =
            || Failure::Unsealed("the application has no secret; set its token or client secret".to_owned());
        self.client.as_ref().ok_or_else(missing)
    }

    /// Carries events, as far as that goes.
    pub(in crate::delivery) async fn carry(
        &self,
        shared: &Arc<Shared>,
        going: &Going<'_>,
        events: &[Outgoing],
    ) -> Carried {
        let mut work = Work::of(events, &self.scim, &self.checked);
        let mut keys = work.keys();
        let mut carrier = Carrier {
            scim: &self.scim,
            checked: &self.checked,
            of_groups: &self.of_groups,
            memory: &self.memory,
            outside: Way {
                provider: self,
                shared,
                going,
                requests: 0,
                last: None,
            },
            stored: HashMap::new(),
            given_up: Vec::new(),
        };
        let broken = carrier.carry(&mut work).await.err();
        keys.append(&mut carrier.given_up);
        let Way { requests, last, .. } = carrier.outside;
        let mut stop = broken.map(|broken| match broken {
            Broken::Outside(stop) => stop,
            Broken::Failed(refusal) => Stop::Failure(last.unwrap_or_else(|| {
                Failure::Unreadable(format!("an answer with HTTP {} that is no SCIM", refusal.status))
            })),
            Broken::Unsuitable(refusal) => Stop::Failure(Failure::Unsuitable {
                status: refusal.status,
            }),
        });
        if let Err(error) = self.let_go(shared).await {
            stop.get_or_insert(Stop::Database(error));
        }
        let verdicts = (0..events.len()).map(|number| work.decided.remove(&number));
        Carried {
            verdicts: verdicts.collect(),
            remembered: self.memory.learned(&keys),
            requests,
            stop,
        }
    }

    /// Lets go of what the database has by now, if much is kept.
    async fn let_go(&self, shared: &Shared) -> Result<(), DbError> {
        let Some(keys) = self.memory.if_more_than(KEPT) else {
            return Ok(());
        };
        let stored = self.stored(shared, keys.clone()).await?;
        self.memory.let_go(&keys, &stored);
        Ok(())
    }

    async fn stored(&self, shared: &Shared, keys: Vec<Key>) -> Result<HashMap<Key, Remote>, DbError> {
        let id = self.application_id.clone();
        let read = move |tx: &mut Tx<'_>| {
            let subjects: Vec<String> = keys.iter().map(|(_, subject)| subject.clone()).collect();
            let mut found = remote::of(tx, &id, &subjects)?;
            let known = keys.iter().filter_map(|key| {
                let remote = found.remove(&key.1)?;
                Some((key.clone(), remote))
            });
            Ok(known.collect())
        };
        shared.hub.db.read(read).await
    }
}

/// The application and the database, for the time of a request.
struct Way<'a> {
    provider: &'a Provider,
    shared: &'a Arc<Shared>,
    going: &'a Going<'a>,
    requests: u32,
    /// What the last answer is as a failure.
    last: Option<Failure>,
}

impl Way<'_> {
    async fn exchange(&mut self, call: &Call, at_most: usize) -> Result<Answer, Stop> {
        let (going, shared) = (self.going, self.shared);
        let check = || going.check(shared).map_err(Stop::Broken);
        self.requests += 1;
        let client = self.provider.client()?;
        let answer = client.send_while(&shared.egress, &shared.hub.clock, call, at_most, check);
        let answer = answer.await?;
        self.last.clone_from(&answer.failure);
        Ok(answer)
    }
}

impl Outside for Way<'_> {
    type Error = Stop;

    async fn send(&mut self, call: Call) -> Result<Reply, Stop> {
        Ok(self.exchange(&call, ANSWER_LIMIT).await?.reply)
    }

    async fn read(&mut self, call: Call) -> Result<Reply, Stop> {
        let answer = self.exchange(&call, LARGE).await?;
        if !answer.complete {
            let why = format!("the answer is larger than {LARGE} bytes");
            return Err(Stop::Failure(Failure::Unreadable(why)));
        }
        Ok(answer.reply)
    }

    async fn stored(&mut self, keys: Vec<Key>) -> Result<HashMap<Key, Remote>, Stop> {
        let stored = self.provider.stored(self.shared, keys).await;
        stored.map_err(Stop::Database)
    }

    async fn holder(&mut self, kind: SubjectKind, id: &str) -> Result<Option<String>, Stop> {
        let (application, id) = (self.provider.application_id.clone(), id.to_owned());
        let read = move |tx: &mut Tx<'_>| remote::holder(tx, &application, kind, &id);
        self.shared.hub.db.read(read).await.map_err(Stop::Database)
    }

    async fn members(&mut self, group: &str) -> Result<Vec<String>, Stop> {
        let group = group.to_owned();
        let read = move |tx: &mut Tx<'_>| query::group_members(tx, &group);
        self.shared.hub.db.read(read).await.map_err(Stop::Database)
    }
}
