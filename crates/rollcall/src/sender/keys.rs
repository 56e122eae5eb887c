//! The keys of a sender: from files, or made.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollcall_protocol::{EncryptionKey, KeyError, Random, SigningKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::clock::Millis;
use crate::{id, private};

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum UnusableKey {
    /// The file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a private key.
    #[error(
        "{0} holds no private key in PEM (PKCS #8); `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out \
         FILE` makes one"
    )]
    NotPem(PathBuf),
    /// Not a key that is used here.
    #[error("{path}: {source}")]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A key cannot be made.
    #[error(transparent)]
    Make(#[from] KeyError),
}

fn file(path: &Path) -> impl Fn(std::io::Error) -> UnusableKey {
    move |source| UnusableKey::File {
        path: path.to_owned(),
        source,
    }
}

/// Makes a signing key with an id of its own.
///
/// # Errors
/// [`UnusableKey::Make`].
pub fn make(now: Millis, random: &dyn Random) -> Result<SigningKey, UnusableKey> {
    let id = id::make("", now, random);
    Ok(SigningKey::generate(&format!(
        "KEY{}",
        id.trim_start_matches('_')
    ))?)
}

/// Reads a private key (PKCS #8, PEM). Without a `kid`, it gets one that follows from the key.
///
/// # Errors
/// [`UnusableKey`].
pub fn read_signing(path: &Path, kid: Option<&str>) -> Result<SigningKey, UnusableKey> {
    let pem = Zeroizing::new(std::fs::read(path).map_err(file(path))?);
    let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| UnusableKey::NotPem(path.to_owned()))?;
    let unusable = |source| UnusableKey::Key {
        path: path.to_owned(),
        source,
    };
    let parse = |kid: &str| SigningKey::from_pkcs8(kid, der.secret_pkcs8_der()).map_err(unusable);
    match kid {
        Some(kid) => parse(kid),
        None => {
            let unnamed = parse("")?;
            parse(&id::derive("KEY", &unnamed.public_jwk().n).replace('_', ""))
        }
    }
}

/// Reads the signing key of this file, which is made if it does not exist.
///
/// # Errors
/// [`UnusableKey`].
pub fn read_or_make_signing(path: &Path, kid: Option<&str>) -> Result<SigningKey, UnusableKey> {
    match read_signing(path, kid) {
        Err(UnusableKey::File { source, .. }) if source.kind() == ErrorKind::NotFound => {}
        result => return result,
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(file(folder))?;
    }
    let der = SigningKey::generate("")?.pkcs8_der()?;
    let text = Zeroizing::new(STANDARD.encode(&*der));
    let mut pem = Zeroizing::new(String::from("-----BEGIN PRIVATE KEY-----\n"));
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    private::create(path)
        .and_then(|mut to| to.write_all(pem.as_bytes()))
        .map_err(file(path))?;
    read_signing(path, kid)
}

/// Reads an encryption key: hexadecimal digits.
///
/// # Errors
/// [`UnusableKey`].
pub fn read_encryption(path: &Path) -> Result<EncryptionKey, UnusableKey> {
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(file(path))?);
    EncryptionKey::from_hex(&text).map_err(|source| UnusableKey::Key {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_made_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/signing.pem");
        let made = read_or_make_signing(&path, None).unwrap();
        let again = read_or_make_signing(&path, None).unwrap();
        assert_eq!(made.public_jwk(), again.public_jwk());
        assert!(made.kid().starts_with("KEY"), "{}", made.kid());
        assert_eq!(read_signing(&path, Some("K")).unwrap().kid(), "K");
        std::fs::write(&path, "nonsense").unwrap();
        let refused = read_signing(&path, None).unwrap_err().to_string();
        assert!(refused.contains("openssl genpkey"), "{refused}");
    }
}
