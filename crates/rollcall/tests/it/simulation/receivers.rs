//! The receivers of the applications, and what they keep: on disk, or in memory that survives them.

use std::sync::Arc;
use std::time::Duration;

use rollcall_db::Options;
use rollcall_db::testing::Faults;
use rollcall_protocol::EventType;
use rollcall_receiver::testing::{Act, Forgetful};
use rollcall_receiver::{Inbox, InboxOptions, KeySource, Mirror, Outcome, Receiver};

use super::application::{Application, Desk};
use super::network::{Copy, Heard};
use super::plan::Kind;
use super::scim::ServiceProvider;
use super::tenants::{Manner, Tenant};
use super::world::World;

impl World {
    /// Kills the receiver of an application and starts it again, with the keys that are published now and with what it
    /// had kept.
    pub(super) fn restart_receiver(&mut self, index: usize) {
        let tenant = &self.tenants[index];
        let name = tenant.application.name.clone();
        let before = self.network.copy(&name);
        if let Some(copy) = self.receiver(tenant, before.as_deref()) {
            if let Some(before) = before {
                self.see_off_receiver(&before);
            }
            self.network.connect(&name, copy);
        }
    }

    /// Counts what has happened to a receiver's commits.
    pub(super) fn see_off_receiver(&self, copy: &Copy) {
        for fault in copy.faults().happened() {
            let kind = Kind::ALL
                .iter()
                .find(|(kind, _)| kind.of_receivers_commit() == Some(fault));
            self.history.count(kind.unwrap().0);
        }
    }

    /// Starts the receivers again that were killed at a commit.
    pub(super) fn restart_dead_receivers(&mut self) {
        for index in 0..self.tenants.len() {
            let name = self.tenants[index].application.name.clone();
            if self
                .network
                .copy(&name)
                .is_some_and(|copy| copy.faults().killed())
            {
                self.history.note(format_args!("the receiver of {name} is dead"));
                self.restart_receiver(index);
                if self.dice.one_in(4) {
                    self.network.leave(&name, self.dice.below(60_000));
                }
            }
        }
    }

    /// A receiver that keeps the keys for ever which are published now.
    pub(super) fn receiver(&self, tenant: &Tenant, before: Option<&Copy>) -> Option<Copy> {
        let id = tenant.application.id.clone();
        let jwks = self.on_hub(async |hub| {
            let now = hub.clock.now();
            hub.db
                .read(move |tx| rollcall::application::keys::jwks(tx, &id, now))
                .await
                .ok()
        })??;
        let keys = KeySource::Document(serde_json::to_string(&jwks).unwrap());
        let history = Arc::clone(&self.history);
        let mut builder =
            Receiver::builder(keys, &tenant.application.id).clock(Arc::new(move || history.now()));
        if let Some(key) = &tenant.key {
            builder = builder.encryption_key(key.clone());
        }
        let name = &tenant.application.name;
        let url = format!(
            "sqlite:{}",
            self.folder.path().join(format!("{name}.db")).display()
        );
        let (faults, options) = self.storage();
        Some(match tenant.manner {
            Manner::Scim => Copy::Scim(match before {
                Some(Copy::Scim(provider)) => provider.clone(),
                _ => ServiceProvider::default(),
            }),
            Manner::Kit => {
                let mirror = Mirror::open_inline(&url, options).ok()?;
                Copy::Mirror(builder.build(self.heard(name, faults, mirror)).unwrap())
            }
            Manner::Inbox => {
                let application = match before {
                    Some(Copy::Inbox(_, application)) => application.clone(),
                    _ => Application::default(),
                };
                let inbox = self.inbox(&url, application.clone(), options)?;
                Copy::Inbox(
                    builder.build(self.heard(name, faults, inbox)).unwrap(),
                    application,
                )
            }
            Manner::Plain | Manner::Sdk => {
                let forgetful = match before {
                    Some(Copy::Forgetful(receiver)) => receiver.processor().processor.clone(),
                    _ => self.forgetful(name, tenant.manner),
                };
                let heard = Heard {
                    wanted: Some(self.network.wanted(name)),
                    ..self.heard(name, faults, forgetful)
                };
                Copy::Forgetful(builder.build(heard).unwrap())
            }
        })
    }

    /// How a receiver's database is opened.
    fn storage(&self) -> (Faults, Options) {
        let faults = Faults::default();
        if !self.network.is_well() {
            faults.at_random(self.dice.next(), 40, &self.receivers_commits);
        }
        let options = Options {
            faults: faults.one_by_one(),
            // The writer's patience passes in real time, which nobody needs here.
            unavailable_after: Duration::from_millis(1),
            ..Options::default()
        };
        (faults, options)
    }

    fn inbox(&self, url: &str, application: Application, options: Options) -> Option<Inbox> {
        let desk = Desk {
            application,
            network: Arc::downgrade(&self.network),
        };
        let history = Arc::clone(&self.history);
        let patience = InboxOptions {
            clock: Arc::new(move || history.now()),
            ..InboxOptions::default()
        };
        let _worker_runs_here = self.applications.enter();
        Inbox::open_inline(url, desk, patience, options).ok()
    }

    fn heard<P>(&self, name: &str, faults: Faults, processor: P) -> Heard<P> {
        Heard {
            name: name.to_owned(),
            history: Arc::clone(&self.history),
            faults,
            signers: Arc::clone(&self.network.signers),
            contents: Arc::clone(&self.network.contents),
            wanted: None,
            processor,
        }
    }

    fn forgetful(&self, name: &str, manner: Manner) -> Forgetful {
        use EventType as T;
        let name = name.to_owned();
        let network = Arc::downgrade(&self.network);
        Forgetful::scripted(move |event, _| match event.kind() {
            Some(T::GroupCreate | T::GroupUpdate | T::GroupDelete | T::GroupAddUser | T::GroupRemoveUser)
                if manner == Manner::Sdk =>
            {
                Act::Answer(Outcome::Skipped(String::new()))
            }
            _ => network
                .upgrade()
                .map_or(Act::Apply, |network| network.mood(&name, event)),
        })
    }

    /// Whether the inboxes have handed on everything that is in them; what they have set aside is tried again.
    pub(super) fn inboxes_are_empty(&self) -> bool {
        self.tenants.iter().all(|tenant| {
            let copy = self.network.copy(&tenant.application.name);
            let Some(Copy::Inbox(receiver, _)) = copy.as_deref() else {
                return true;
            };
            let inbox = &receiver.processor().processor;
            self.applications.block_on(async {
                let counts = inbox.counts().await.unwrap();
                if counts.failed > 0 {
                    inbox.retry_failed().await.unwrap();
                }
                counts.pending + counts.failed == 0
            })
        })
    }
}
