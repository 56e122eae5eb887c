//! The certificate by which the server proves who it is, and which may be renewed while it runs.
//!
//! The two files are read every few seconds, and at once at SIGHUP. What counts is what they hold and not when they
//! were written, so it does not matter whether they are copied over, renamed or linked anew. A pair that can be used
//! takes the place of the earlier one for the connections that begin from then on. One that cannot, because half of it
//! is missing or does not fit, is told of once, and the earlier one stays; the program is never without one.
//!
//! There is only HTTP/1 above it: the hub's callers are applications that fetch a document, and administrators. HTTP/2
//! would bring streams, of which each needs limits of its own beside those of the connections, for nothing that
//! anybody here is short of.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::{DateTime, Decode as _};
use zeroize::Zeroizing;

use crate::file::{self, FileError, Readers};
use crate::health::Part;
use crate::signals::Hangups;

/// How often the files are read.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// For how long before its end a certificate is warned of, in seconds: time enough for somebody to act, and less than
/// what is left when a program renews it by itself.
const WARN_BEFORE: i64 = 14 * 86_400;

/// The largest file that is read.
const LONGEST: u64 = 1 << 20;

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and its authority (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or the key is open to others.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no certificate in the file.
    #[error("{0} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate(PathBuf),
    /// There is no key in the file.
    #[error(
        "{0} holds no private key in PEM (-----BEGIN PRIVATE KEY-----); one under a password cannot be used"
    )]
    NoKey(PathBuf),
    /// A file holds something that is not what it says.
    #[error("{path} cannot be read: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// They are not a pair.
    #[error("the key in {} is not that of the first certificate in {}", .0.key.display(), .0.certificate.display())]
    Mismatch(TlsFiles),
    /// They are a pair, but nothing that TLS can use.
    #[error("{} cannot be used: {source}", files.certificate.display())]
    Unusable {
        /// Where they are.
        files: TlsFiles,
        /// What is wrong with them.
        source: rustls::Error,
    },
}

/// What was found when the files were read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What is in use.
    Unchanged,
    /// Another pair, which is in use now.
    Renewed,
    /// Something that cannot be used; the earlier pair stays.
    Refused,
}

/// A certificate with its key, kept current.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    loaded: Loaded,
    /// Why what the files hold now is not in use.
    refused: Option<String>,
}

#[derive(Clone, Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    ends: DateTime,
    content: Content,
}

/// Tells whether files hold the same as before. Not the content itself: that is a secret.
type Content = [u8; 32];

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let loaded = read(&files)?.load(&files)?;
        Ok(Self {
            files,
            state: RwLock::new(State {
                loaded,
                refused: None,
            }),
        })
    }

    /// Reads the files again, and logs what is new about them.
    pub fn look(&self) -> Look {
        let content = self.with(|state| state.loaded.content);
        let found = read(&self.files).map_err(TlsError::from).and_then(|pair| {
            let is_new = pair.content != content;
            is_new.then(|| pair.load(&self.files)).transpose()
        });
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let certificate = self.files.certificate.display();
        match found {
            Ok(None) => {
                if state.refused.take().is_some() {
                    tracing::info!(%certificate, "the files hold the certificate again that is in use");
                }
                Look::Unchanged
            }
            Ok(Some(loaded)) => {
                tracing::info!(%certificate, until = %loaded.ends, "a new certificate is in use");
                *state = State {
                    loaded,
                    refused: None,
                };
                Look::Renewed
            }
            Err(error) => {
                let why = error.to_string();
                if state.refused.as_ref() != Some(&why) {
                    tracing::error!(
                        until = %state.loaded.ends,
                        "the new certificate cannot be used, and the earlier one stays in use: {why}"
                    );
                }
                state.refused = Some(why);
                Look::Refused
            }
        }
    }

    /// Looks at the files for ever.
    pub(crate) async fn keep_current(self: Arc<Self>, mut hangups: Hangups) {
        loop {
            let asked = tokio::time::timeout(LOOK_EVERY, hangups.next()).await.is_ok();
            let tls = Arc::clone(&self);
            // Files may lie on a disk that does not answer.
            let looked = tokio::task::spawn_blocking(move || tls.look()).await;
            if asked && let Ok(look) = looked {
                tracing::info!(found = ?look, "read the certificate again because of SIGHUP");
            }
        }
    }

    /// For a connection that begins now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.with(|state| Arc::clone(&state.loaded.config)))
    }

    /// When the certificate ends, in seconds since the Unix epoch.
    pub fn ends(&self) -> i64 {
        self.with(|state| seconds(&state.loaded.ends))
    }

    /// How the certificate is at a time, in seconds since the Unix epoch.
    ///
    /// One that has ended is a failure although the program goes on: no client that looks at certificates comes in,
    /// so whoever distributes requests should send them elsewhere.
    pub fn part(&self, now: i64) -> Part {
        const NAME: &str = "certificate";
        let (ends, refused) = self.with(|state| (state.loaded.ends, state.refused.clone()));
        let left = seconds(&ends) - now;
        let files = format!(
            "{} and {}",
            self.files.certificate.display(),
            self.files.key.display()
        );
        let (when, action) = match &refused {
            Some(why) => (
                format!("the files hold another one, which cannot be used ({why}); the one in use"),
                format!("mend {files}; they are read again within seconds"),
            ),
            None => (
                "the certificate".to_owned(),
                format!("write a new pair into {files}; they are read again within seconds"),
            ),
        };
        if left <= 0 {
            Part::failed(
                NAME,
                format!("{when} has ended on {ends}, so that clients refuse it"),
                action,
            )
        } else if left < WARN_BEFORE || refused.is_some() {
            let days = left / 86_400;
            Part::warning(NAME, format!("{when} ends on {ends}, in {days} days"), action)
        } else {
            Part::ok(NAME, format!("{when} is good until {ends}"))
        }
    }

    fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn seconds(time: &DateTime) -> i64 {
    // The last year that a certificate can name is 9999.
    time.unix_duration().as_secs().cast_signed()
}

/// What the two files hold.
struct Pair {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    content: Content,
}

fn read(files: &TlsFiles) -> Result<Pair, FileError> {
    let whole = |path: &Path, file: std::fs::File| {
        let mut bytes = Vec::new();
        file.take(LONGEST)
            .read_to_end(&mut bytes)
            .map_err(file::io(path))?;
        Ok::<_, FileError>(bytes)
    };
    let (certificate, _) = file::open(&files.certificate)?;
    let certificate = whole(&files.certificate, certificate)?;
    let key = file::open_secret(&files.key, Readers::GroupOfRoot)?;
    let key = Zeroizing::new(whole(&files.key, key)?);
    let mut digest = Context::new(&SHA256);
    digest.update(&certificate.len().to_le_bytes());
    digest.update(&certificate);
    digest.update(&key);
    let mut content = Content::default();
    content.copy_from_slice(digest.finish().as_ref());
    Ok(Pair {
        certificate,
        key,
        content,
    })
}

impl Pair {
    fn load(&self, files: &TlsFiles) -> Result<Loaded, TlsError> {
        let malformed = |path: &Path, reason: &dyn std::fmt::Display| TlsError::Malformed {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| malformed(&files.certificate, &error))?;
        let own = chain
            .first()
            .ok_or_else(|| TlsError::NoCertificate(files.certificate.clone()))?;
        let own = Certificate::from_der(own).map_err(|error| malformed(&files.certificate, &error))?;
        let ends = own.tbs_certificate.validity.not_after.to_date_time();
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey(files.key.clone()),
            error => malformed(&files.key, &error),
        })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch(files.clone())
            }
            source => TlsError::Unusable {
                files: files.clone(),
                source,
            },
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Loaded {
            config: Arc::new(config),
            ends,
            content: self.content,
        })
    }
}
