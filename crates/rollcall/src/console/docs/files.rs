//! What of the repository the book needs, embedded: its pages, the sources that they include, and the files of the
//! test vector. A test holds that nothing is missing.
//!
//! They are read through the links `docs` and `contrib` in this crate's folder, so that a package of the crate has them
//! too: cargo packs what a link leads to.

macro_rules! files {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)))),*]
    };
}

/// Each with its path in the repository.
pub(super) const FILES: &[(&str, &str)] = files![
    "docs/SUMMARY.md",
    "docs/API.md",
    "docs/OPERATIONS.md",
    "docs/PROTOCOL.md",
    "docs/RECEIVING.md",
    "docs/access.md",
    "docs/api-compatibility.md",
    "docs/comparison.md",
    "docs/configuration.md",
    "docs/importing.md",
    "docs/installing.md",
    "docs/quick-start.md",
    "docs/receivers/README.md",
    "docs/receivers/go.md",
    "docs/receivers/java.md",
    "docs/receivers/node.md",
    "docs/receivers/python.md",
    "docs/receivers/rust.md",
    "docs/reliability.md",
    "docs/scim.md",
    "docs/security.md",
    "docs/vectors/README.md",
    "docs/vectors/answer-in-part.json",
    "docs/vectors/answer-refused.json",
    "docs/vectors/answer.json",
    "docs/vectors/claims-encrypted.json",
    "docs/vectors/claims.json",
    "docs/vectors/jwks.json",
    "docs/vectors/parameters.json",
    "docs/vectors/payload.json",
    "docs/vectors/request-encrypted.json",
    "docs/vectors/request.json",
    "docs/vectors/signing-key.pem",
    "docs/vectors/user.json",
    "docs/zh-CN/quick-start.md",
    "docs/zh-CN/receiving.md",
    "contrib/receivers/README.md",
    "contrib/receivers/go/README.md",
    "contrib/receivers/go/receiver.go",
    "contrib/receivers/go/store.go",
    "contrib/receivers/java/README.md",
    "contrib/receivers/java/Receiver.java",
    "contrib/receivers/java/Store.java",
    "contrib/receivers/node/README.md",
    "contrib/receivers/node/receiver.mjs",
    "contrib/receivers/node/store.mjs",
    "contrib/receivers/python/README.md",
    "contrib/receivers/python/receiver.py",
    "contrib/receivers/python/store.py",
    "contrib/receivers/rust/README.md",
    "contrib/receivers/rust/receiver.rs",
    "contrib/rollcall.toml",
];

/// The text of a file, by its path in the repository.
pub(super) fn text(path: &str) -> Option<&'static str> {
    FILES
        .iter()
        .find(|(known, _)| *known == path)
        .map(|(_, text)| *text)
}
