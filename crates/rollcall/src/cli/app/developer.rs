//! `rollcall app api`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;

use crate::api::{DeveloperAccess, FreshClientSecret};
use crate::application::developer::secrets::ClientSecret;
use crate::application::{ApplicationError, DeveloperApiPatch};
use crate::cli::args::{ClientSecret as SecretVerb, DeveloperApi as Verb, Grants};
use crate::cli::backend::Backend;
use crate::cli::output::{Output, time};
use crate::clock::Millis;

impl Grants {
    fn patch(self) -> DeveloperApiPatch {
        DeveloperApiPatch {
            enabled: self.enabled,
            users: self.users,
            organizational_units: self.units,
            groups: self.groups,
            passwords: self.passwords,
            echo: self.echo,
            requests_per_second: self.requests_per_second,
        }
    }
}

pub(super) async fn run(backend: &Backend, out: &Output, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Show { app } => show(backend, out, &backend.developer_access(&app).await?),
        Verb::Set { app, grants } => {
            let id = backend.application(&app).await?.id;
            let changed = backend.set_developer_api(&id, grants.patch()).await?;
            show(backend, out, &changed);
        }
        Verb::Secret { verb } => secret(backend, out, verb).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(backend: &Backend, out: &Output, access: &DeveloperAccess) {
    let now = backend.now();
    out.show(access, || {
        let api = access.developer_api;
        let mut text = format!(
            "developer API   {}\naddress         {}\ninstance id     {}\nclient id       {}\nusers           {}\n\
             units           {}\ngroups          {}\npasswords       {}\necho            {}\nrequests        {} a second\nclient secrets\n",
            if api.enabled { "on" } else { "OFF" },
            access.address,
            access.instance_id,
            access.client_id,
            api.users.as_str(),
            api.organizational_units.as_str(),
            api.groups.as_str(),
            if api.passwords { "write" } else { "none" },
            if api.echo { "on" } else { "off" },
            api.requests_per_second,
        );
        for secret in &access.client_secrets {
            text.push_str(&format!("    {}", line(secret, now)));
        }
        if access.client_secrets.is_empty() {
            text.push_str(&format!(
                "    none; rollcall app api secret create {}\n",
                access.client_id
            ));
        }
        text
    });
}

async fn secret(backend: &Backend, out: &Output, verb: SecretVerb) -> Result<()> {
    match verb {
        SecretVerb::Create { app, days, never } => {
            let id = backend.application(&app).await?.id;
            let days = (!never).then_some(days);
            let made = backend.create_client_secret(&id, days).await?;
            out.show(&made, || {
                let FreshClientSecret {
                    client_secret,
                    secret,
                } = &made;
                format!(
                    "{}client id      {id}\nclient secret  {secret}\n               (shown only now)\n",
                    line(client_secret, backend.now())
                )
            });
        }
        SecretVerb::Revoke { app, secret } => {
            let application = backend.application(&app).await?;
            let there = backend.developer_access(&application.id).await?.client_secrets;
            let mut meant = there
                .iter()
                .filter(|it| it.id == secret || secret.starts_with(&it.prefix));
            let Some(id) = meant.next().map(|it| it.id.clone()) else {
                bail!(ApplicationError::NoSecret {
                    application: application.name,
                    id: secret,
                });
            };
            let revoked = backend.revoke_client_secret(&application.id, &id).await?;
            out.show(&json!({ "revoked": revoked.id }), || {
                format!(
                    "{}… is good for nothing any more, nor are the access tokens that were given for it",
                    revoked.prefix
                )
            });
        }
    }
    Ok(())
}

fn line(secret: &ClientSecret, now: Millis) -> String {
    format!(
        "{}  {}…  {}, {}\n",
        secret.id,
        secret.prefix,
        match secret.expires_at {
            None => "never expires".to_owned(),
            Some(at) if !secret.is_good(now) => format!("EXPIRED {}", time(at)),
            Some(at) => format!("expires {}", time(at)),
        },
        match secret.last_used {
            None => "never used".to_owned(),
            Some(at) => format!("last used {}", time(at)),
        }
    )
}
