//! `rollcall serve`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rollcall_protocol::SystemRandom;
use rollcall_server::StopSignals;
use rollcall_server::health::{Part, State};
use tokio::sync::oneshot;

use super::{open, output, serving};
use crate::accounts;
use crate::api::{self, Api};
use crate::config::Config;
use crate::console::{self, Console};
use crate::delivery::Delivery;
use crate::hub::Hub;
use crate::instance::Serving;
use crate::maintenance::Maintenance;
use crate::secret::{AdminToken, ExposeSecret as _};
use crate::signin::manage::{self, First};

/// How long the database has to finish what is queued, at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Makes the first administrator at the first start. The one-time password goes to the standard output: what goes to
/// the standard error is the log, and is kept.
async fn first_account(hub: &Hub, config: &Config) -> Result<()> {
    // The file may go once it has served.
    let chosen = match hub.db.read(accounts::any).await? {
        true => None,
        false => config.initial_password()?,
    };
    let first = manage::first_start(hub, chosen).await;
    match first.context("the first account")? {
        First::Made(fresh) => {
            let name = fresh.account.name;
            if let Some(password) = fresh.one_time_password {
                output::line(&format!(
                    "The first administrator: name {name}, one-time password {}\nIt is shown only now, and has to be \
                     changed at the first sign-in.",
                    password.expose_secret()
                ));
            }
            tracing::info!(name, "the first administrator is made");
        }
        First::Waits(name) => tracing::info!(
            "nobody has signed in yet; rollcall account reset-password {name} makes a new one-time password"
        ),
        First::Done => {}
    }
    Ok(())
}

pub(super) async fn run(config: &Config, file: Option<&Path>) -> Result<ExitCode> {
    // Before the hub says that it runs: whoever reads that may stop it at once.
    let mut stop = StopSignals::listen()?;
    let mut options = config.server.options().map_err(anyhow::Error::msg)?;
    options.tls = config.server.tls().context("server.tls")?;
    let stop_within = options.limits.stop;
    let (hub, mut owner) = open::own_hub(config).await?;
    // A large file takes a while; a statement that meets damage meanwhile, or later, tells of it as well.
    let verifying = hub.db.clone();
    tokio::spawn(async move {
        if let Err(error) = verifying.verify().await {
            tracing::error!(%error, "the database is not whole; rollcall doctor says what to do");
        }
    });
    let token =
        AdminToken::read_or_make(&config.token_path(), &SystemRandom).context("the administrator's token")?;
    first_account(&hub, config).await?;
    let delivery = Delivery::start(hub.clone(), open::egress(config)?, config.delivery_options()).await?;
    let maintenance = Maintenance::start(hub.clone(), config.maintenance_options());
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen: cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    if let Some(owner) = &mut owner {
        owner.set_address(&address.to_string())?;
    }
    hub.serves(Serving {
        listens_on: address.to_string(),
        public_url: config.public_url(),
        encrypted: options.tls.is_some(),
        egress_allow: config.egress.allow.clone(),
        outbound_addresses: config.egress.outbound_addresses.clone(),
    })
    .await?;
    let configuration = file.map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    tracing::info!(
        %address,
        configuration,
        encrypted = options.tls.is_some(),
        instance = hub.instance.id,
        token = %config.token_path().display(),
        "the hub runs"
    );
    if let Some(tls) = &options.tls {
        let Part {
            state,
            message,
            action,
            ..
        } = tls.part(hub.clock.now() / 1_000);
        if state != State::Ok {
            tracing::warn!(action, "{message}");
        }
    }
    if let Some(note) = serving::known(&hub, config).await?.note() {
        tracing::info!("where applications fetch their public keys: {note}");
    }
    let (shared, upkeep) = (Arc::clone(delivery.shared()), Arc::clone(maintenance.upkeep()));
    let provider = config.provider(hub.clock.clone())?;
    let api = Arc::new(
        Api::new(shared, upkeep, token)
            .with_provider(provider)
            .with_tls(options.tls.clone())
            .with_rate_limit(config.rate_limit()),
    );
    let console = Arc::new(Console::new(Arc::clone(&api), config.egress.source_address));
    let history = console.keep_history();
    let router = api::router_with(api, console::router(Arc::clone(&console)));
    let (ending, ended) = oneshot::channel::<()>();
    let mut server = tokio::spawn(rollcall_server::serve(listener, router, options, async move {
        drop(ended.await);
    }));
    tokio::select! {
        () = stop.next() => {}
        ended = &mut server => bail!("the HTTP server ended by itself: {ended:?}"),
    }
    tracing::info!("finishing the requests in flight");
    stop.end_at_the_next();
    history.abort();
    console.end();
    drop(ending);
    // Both at once: an unfinished request to the hub must not keep it sending.
    let stopping = async {
        match tokio::time::timeout(stop_within, async {
            tokio::join!(delivery.stop(), maintenance.stop())
        })
        .await
        {
            Ok(((), ())) => tracing::info!("delivery has ended"),
            Err(_) => tracing::warn!(
                "delivery did not end in time; what it was sending is sent again at the next start"
            ),
        }
    };
    let (_, ()) = tokio::join!(server, stopping);
    if tokio::time::timeout(CLOSE_WITHIN, hub.db.close()).await.is_err() {
        tracing::warn!("the database did not finish in time; nothing that was confirmed is lost");
    }
    drop(owner);
    Ok(ExitCode::SUCCESS)
}
