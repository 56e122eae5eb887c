//! The hub's own identity on the wire: its instance id and its account number.

use std::net::{IpAddr, SocketAddr};

use rollcall_db::{DbError, Tx, params};
use rollcall_protocol::Random;
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::id;

/// Who the hub says it is (wire contract, sections 2 and 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `idaas_…`; the `sub` of every envelope and a part of the JWKS address.
    pub id: String,
    /// A string of digits: the official SDK reads it as a 64-bit number.
    pub ali_uid: String,
}

/// What the hub that was started last says of itself. Commands beside it read it here, because their own
/// configuration may be another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Serving {
    /// The address on which it listens.
    pub listens_on: String,
    /// The address under which applications reach it, if one is configured.
    pub public_url: Option<String>,
    /// Whether it encrypts by itself.
    pub encrypted: bool,
    /// The private networks that receiving URLs may lead to.
    pub egress_allow: Vec<String>,
    /// The addresses from which its requests leave, if they are configured.
    pub outbound_addresses: Vec<IpAddr>,
}

impl Serving {
    /// The address under which it is reached by itself, if it says one that can be read.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listens_on.parse().ok()
    }

    /// The address under which applications reach it.
    pub fn base_url(&self) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        let own = || match self.address() {
            Some(address) => format!("{scheme}://{}", for_others(address)),
            None => format!("{scheme}://{}", self.listens_on),
        };
        self.public_url.clone().unwrap_or_else(own)
    }

    /// What is to be done for applications to find their public keys, if something may be.
    pub fn note(&self) -> Option<String> {
        match (&self.public_url, self.address()) {
            (Some(_), _) | (None, None) => None,
            (None, Some(listens_on)) => Some(unreachable(listens_on, &self.base_url())),
        }
    }
}

/// An address for others: one that stands for all of a machine's is replaced by the machine's name.
pub fn for_others(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => format!("{}:{}", host_name(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("{}:{}", host_name(), address.port()),
        _ => address.to_string(),
    }
}

/// What is said where no public URL is configured: whether applications find the hub then, and what to set.
pub fn unreachable(listens_on: SocketAddr, base_url: &str) -> String {
    if listens_on.ip().is_loopback() {
        return format!(
            "applications on other machines do not reach this address: the hub listens on {listens_on} only. Set \
             public_url (ROLLCALL_PUBLIC_URL, serve --public-url) to the address under which they do, such as \
             https://{}, and let that lead to the hub, or have it listen there itself (ROLLCALL_LISTEN, serve \
             --listen 0.0.0.0:{})",
            host_name(),
            listens_on.port()
        );
    }
    format!(
        "no public_url is set. If applications do not reach the hub as {base_url}, set it (ROLLCALL_PUBLIC_URL, serve \
         --public-url) to the address under which they do, and restart the hub"
    )
}

/// What this machine is called.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Where an application finds its public keys, as the hub that was started last says; only the path, if none was
/// started yet.
pub fn jwks_url(serving: Option<&Serving>, instance_id: &str, application_id: &str) -> String {
    let base = serving.map_or_else(String::new, Serving::base_url);
    format!("{base}/v2/{instance_id}/{application_id}/provisioning/jwks")
}

/// Where the calls of an application to the developer API begin; only the path, if no hub was started yet.
pub fn developer_address(serving: Option<&Serving>, instance_id: &str, application_id: &str) -> String {
    let base = serving.map_or_else(String::new, Serving::base_url);
    format!("{base}/v2/{instance_id}/{application_id}")
}

/// What the other end of a connection is given as the address of the hub; only the path, if no hub was started yet.
pub fn scim_address(serving: Option<&Serving>, connection_id: &str) -> String {
    let base = serving.map_or_else(String::new, Serving::base_url);
    format!("{base}/scim/v2/{connection_id}")
}

/// Reads the identity, which is made at the first start.
///
/// # Errors
/// What the database reports.
pub fn initialize(
    tx: &mut Tx<'_>,
    now: Millis,
    random: &dyn Random,
    ali_uid: u64,
) -> Result<Instance, DbError> {
    if let Some(instance) = load(tx)? {
        return Ok(instance);
    }
    let instance = Instance {
        id: id::make("idaas", now, random),
        ali_uid: ali_uid.to_string(),
    };
    tx.execute(
        "INSERT INTO instance (id, ali_uid, applications_version, created_at) VALUES ($1, $2, 0, $3)",
        params![instance.id.as_str(), instance.ali_uid.as_str(), now],
    )?;
    Ok(instance)
}

/// Reads the identity; `None` before the first start.
///
/// # Errors
/// What the database reports.
pub fn load(tx: &mut Tx<'_>) -> Result<Option<Instance>, DbError> {
    tx.query_opt("SELECT id, ali_uid FROM instance", params![])?
        .map(|row| {
            Ok(Instance {
                id: row.get(0)?,
                ali_uid: row.get(1)?,
            })
        })
        .transpose()
}

/// What the hub that was started last says of itself; `None` if none has been yet.
///
/// # Errors
/// What the database reports.
pub fn serving(tx: &mut Tx<'_>) -> Result<Option<Serving>, DbError> {
    let row = tx.query_opt("SELECT serving FROM instance", params![])?;
    let text: Option<String> = row.map(|row| row.get(0)).transpose()?.flatten();
    // What another version wrote in another form is as good as nothing.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Stores what the hub says of itself; `None` if it has not been started yet.
///
/// # Errors
/// What the database reports.
pub fn set_serving(tx: &mut Tx<'_>, serving: Option<&Serving>) -> Result<(), DbError> {
    let text = serving
        .map(serde_json::to_string)
        .transpose()
        .map_err(|error| DbError::Other(error.to_string()))?;
    tx.execute("UPDATE instance SET serving = $1", params![text])?;
    Ok(())
}

/// The instance id; empty before the first start.
///
/// # Errors
/// What the database reports.
pub fn id(tx: &mut Tx<'_>) -> Result<String, DbError> {
    Ok(load(tx)?.map(|instance| instance.id).unwrap_or_default())
}

/// Says that some application must be loaded again, and wakes the delivery.
///
/// # Errors
/// What the database reports.
pub fn touch_applications(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute(
        "UPDATE instance SET applications_version = applications_version + 1",
        params![],
    )?;
    tx.announce();
    Ok(())
}

/// How often [`touch_applications`] was called.
///
/// # Errors
/// What the database reports.
pub fn applications_version(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    Ok(tx
        .query_opt("SELECT applications_version FROM instance", params![])?
        .map(|row| row.get(0))
        .transpose()?
        .unwrap_or(0))
}

/// What [`set_master_key_check`] stored; `None` in a database from before there was such a check.
///
/// # Errors
/// What the database reports.
pub fn master_key_check(tx: &mut Tx<'_>) -> Result<Option<Vec<u8>>, DbError> {
    tx.query_opt("SELECT sealed FROM master_key_check", params![])?
        .map(|row| row.get(0))
        .transpose()
}

/// Stores something sealed under the master key, which tells another key at the next opening.
///
/// # Errors
/// What the database reports.
pub fn set_master_key_check(tx: &mut Tx<'_>, sealed: &[u8]) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO master_key_check (id, sealed) VALUES (1, $1)",
        params![sealed],
    )?;
    Ok(())
}
