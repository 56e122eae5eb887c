//! From the configuration to an open hub.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rollcall_protocol::{Random as _, SystemRandom};

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::send::egress::Egress;
use crate::hub::{Hub, HubParts};
use crate::secret::{MasterKey, SecretString};

/// The account number on the wire, if none is configured.
pub(super) const ALI_UID: u64 = 1_000_000_000_000_000;

/// Opens the hub that a configuration describes.
pub(super) async fn hub(config: &Config) -> Result<Hub> {
    make_private(&config.data_dir)?;
    let master = MasterKey::from_file(&config.master_key_path(), &SystemRandom)?;
    let parts = HubParts {
        database: config.database_url()?,
        clock: Clock::system(),
        random: Arc::new(SystemRandom),
        master,
        ali_uid: config.ali_uid.unwrap_or(ALI_UID),
        root_name: config.organization.clone(),
    };
    Hub::open(parts).await.context("the database cannot be opened")
}

/// The client that a configuration describes.
pub(super) fn egress(config: &Config) -> Result<Egress> {
    Ok(Egress::new(&config.egress()?, Clock::system())?)
}

pub(super) fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("the data folder {} cannot be made", folder.display()))
}

/// The least length of the administrator's token, in characters.
const LEAST_TOKEN: usize = 32;

/// Reads the administrator's token, which is made at the first start. A file that is there is never replaced, and
/// one that holds no usable token is refused: whoever could leave it empty must not thereby open the API.
pub(super) fn token(path: &Path) -> Result<SecretString> {
    use std::io::Write as _;
    let context = || format!("the token file {}", path.display());
    if !path.try_exists().with_context(context)? {
        let mut bytes = [0; 32];
        SystemRandom.fill(&mut bytes);
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // Written whole, or not at all: a disk that is full must not leave an empty file behind.
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
        writeln!(file, "{token}").with_context(context)?;
        file.as_file().sync_all().with_context(context)?;
        match file.persist_noclobber(path) {
            Ok(_) => {}
            // Another process was faster; its token counts.
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error).with_context(context),
        }
    }
    let token = std::fs::read_to_string(path)
        .with_context(context)?
        .trim()
        .to_owned();
    if token.len() < LEAST_TOKEN || token.contains(char::is_whitespace) {
        bail!(
            "{} holds no usable token: it must be one line of at least {LEAST_TOKEN} characters; remove the file, and \
             the next start makes a new token",
            context()
        );
    }
    Ok(token.into())
}
