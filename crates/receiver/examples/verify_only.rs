//! Opens one captured request, without a framework and without processing it.
//!
//!     cargo run -p rollcall-receiver --example verify_only -- JWKS_FILE APP_ID < request.json

use std::io::{Read as _, Write as _};

use rollcall_receiver::{Direct, Handler, KeySource, Receiver};

struct Nothing;
impl Handler for Nothing {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [jwks_file, application_id] = arguments.as_slice() else {
        return Err("usage: verify_only JWKS_FILE APP_ID < request.json".into());
    };
    let keys = KeySource::Document(std::fs::read_to_string(jwks_file)?);
    let receiver = Receiver::builder(keys, application_id).build(Direct::new(Nothing))?;
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body)?;
    let opened = receiver.open(&body).await?;
    writeln!(std::io::stdout(), "{opened:#?}")?;
    Ok(())
}
