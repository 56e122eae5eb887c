//! From the configuration to an open hub.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rollcall_protocol::{Random as _, SystemRandom};

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::egress::Egress;
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

/// Reads the administrator's token, which is made at the first start.
pub(super) fn token(path: &Path) -> Result<SecretString> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let context = || format!("the token file {}", path.display());
    match std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(mut file) => {
            let mut bytes = [0; 32];
            SystemRandom.fill(&mut bytes);
            let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(file, "{token}").with_context(context)?;
            Ok(token.into())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(std::fs::read_to_string(path)
            .with_context(context)?
            .trim()
            .to_owned()
            .into()),
        Err(error) => Err(error).with_context(context),
    }
}
