//! Which hub is meant, and what is shown to it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use axum::http::HeaderValue;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::api::{PREFIX, encoded};
use crate::cli::failure::Refusal;
use crate::config;
use crate::private::{self, PrivateError};

/// What was typed of a hub elsewhere.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Remote {
    /// Its address.
    pub(in crate::cli) server: String,
    /// The file with the token.
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// The file of certificates that are trusted besides the system's.
    pub(in crate::cli) ca_file: Option<PathBuf>,
    /// Whether the token may go over a network where others can read it.
    pub(in crate::cli) plain_http: bool,
}

/// A hub elsewhere.
pub(super) struct Target {
    /// Its address, as far as the prefix of the API.
    base: Url,
    /// The header `Authorization`.
    pub(super) token: HeaderValue,
    token_file: PathBuf,
}

/// Reads where the hub is, what is shown to it, and whom to trust.
pub(super) fn read(remote: &Remote) -> Result<(Target, Vec<CertificateDer<'static>>)> {
    let base = address(remote)?;
    let Some(file) = &remote.token_file else {
        bail!(Refusal::wrong_use(
            "--server needs --token-file: the hub wants to know who asks",
            "write a token into a file that only you can read, and name it with --token-file (or \
             ROLLCALL_TOKEN_FILE); rollcall token create makes one on the hub's machine",
        ));
    };
    let authorities = match &remote.ca_file {
        None => Vec::new(),
        Some(path) => config::authorities(path).with_context(|| format!("--ca-file {}", path.display()))?,
    };
    let target = Target {
        base,
        token: token(file.clone())?,
        token_file: file.clone(),
    };
    Ok((target, authorities))
}

fn address(remote: &Remote) -> Result<Url> {
    let server = &remote.server;
    let refuse = |what: &str| {
        let message = format!("--server {server:?} is no address of a hub: {what}");
        let hint = "write it whole, such as https://hub.example or http://127.0.0.1:8750";
        Refusal::wrong_use(message, hint)
    };
    let mut url = Url::parse(server).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        bail!(refuse("it must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        bail!(Refusal::wrong_use(
            "--server holds a password, which others on this machine can see",
            "leave it out; the hub knows you by the token of --token-file",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        bail!(refuse("it must end with the path"));
    }
    if url.scheme() == "http" && !is_this_machine(&url) && !remote.plain_http {
        let host = url.host_str().unwrap_or_default();
        bail!(Refusal::wrong_use(
            format!("over {server} the token could be read on its way"),
            format!(
                "use https; or a tunnel (ssh -L 8750:127.0.0.1:8750 {host}) and --server http://127.0.0.1:8750; or, on a \
                 network that nobody else is on, --plain-http"
            ),
        ));
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix(PREFIX).unwrap_or(path).to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Whether requests do not leave this machine.
fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn token(file: PathBuf) -> Result<HeaderValue> {
    let text = match private::read_text(&file) {
        Ok(text) => text,
        Err(PrivateError::Empty(_) | PrivateError::Malformed(_)) => bail!(no_token(&file)),
        Err(error) => return Err(anyhow::Error::from(error).context("--token-file")),
    };
    let is_token = text.bytes().all(|byte| byte.is_ascii_graphic());
    let header = Zeroizing::new(format!("Bearer {}", text.as_str()));
    match HeaderValue::from_str(&header) {
        Ok(mut header) if is_token => {
            header.set_sensitive(true);
            Ok(header)
        }
        _ => bail!(no_token(&file)),
    }
}

fn no_token(file: &std::path::Path) -> Refusal {
    Refusal::of(
        "files",
        format!(
            "--token-file: {} does not hold one token and nothing else",
            file.display()
        ),
        "write the token that rollcall token create showed into it, or that of admin.token in the hub's data folder",
    )
}

impl Target {
    /// How the hub is called in messages.
    pub(super) fn place(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// The file with the token.
    pub(super) fn token_file(&self) -> String {
        self.token_file.display().to_string()
    }

    /// The address of a path, whose parts are written as they are.
    pub(super) fn url(&self, path: &[String], query: &[(&'static str, String)]) -> Url {
        let mut text = format!("{}{PREFIX}", self.base.path().trim_end_matches('/'));
        for part in path {
            text.push('/');
            // No path can hold these, but each is a name that somebody may have typed.
            if matches!(part.as_str(), "" | "." | "..") {
                text.push_str("name:");
            }
            text.push_str(&encoded(part));
        }
        let mut url = self.base.clone();
        url.set_path(&text);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}
