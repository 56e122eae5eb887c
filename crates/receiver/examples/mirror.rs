//! An application that keeps a copy of the directory in its own database.
//!
//!     cargo run -p rollcall-receiver --example mirror --features axum,mirror -- JWKS_URL APP_ID KEY_FILE

use std::sync::Arc;

use rollcall_receiver::protocol::EncryptionKey;
use rollcall_receiver::{HttpJwks, KeySource, Mirror, Receiver, router};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [jwks_url, application_id, key_file] = arguments.as_slice() else {
        return Err("usage: mirror JWKS_URL APP_ID KEY_FILE".into());
    };
    let key = EncryptionKey::from_hex(&std::fs::read_to_string(key_file)?)?;
    let keys = KeySource::Endpoint(Arc::new(HttpJwks::new(jwks_url)?));
    let mirror = Mirror::open("sqlite:mirror.db").await?;
    let receiver = Receiver::builder(keys, application_id)
        .encryption_key(key)
        .build(mirror)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8770").await?;
    axum::serve(listener, router(Arc::new(receiver), "/events")).await?;
    Ok(())
}
