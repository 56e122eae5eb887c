//! `rollcall connection`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, bail};
use rollcall_scim::mapping::USER_IN;
use serde_json::json;

use super::args::{Connection as Verb, ConnectionFields, ConnectionToken as TokenVerb};
use super::backend::Backend;
use super::failure::{Failure, Refusal};
use super::output::{Output, counted, listed, note, time};
use super::why::words;
use crate::api::{AddressedConnection, FreshConnectionToken};
use crate::clock::Millis;
use crate::connection::tokens::ConnectionToken;
use crate::connection::{Connection, ConnectionChanges, ConnectionError, NewConnection, usual_rate};
use crate::why::Recent;

/// The expressions that were typed, by their fields.
fn mapping(typed: Vec<String>) -> Result<BTreeMap<String, String>> {
    let mut mapping = BTreeMap::new();
    for pair in typed {
        let Some((field, expression)) = pair.split_once('=') else {
            bail!(Refusal::wrong_use(
                format!("--map {pair:?} has no ="),
                "write FIELD=EXPRESSION, such as displayName=name.formatted"
            ));
        };
        mapping.insert(field.trim().to_owned(), expression.trim().to_owned());
    }
    Ok(mapping)
}

pub(super) async fn run(backend: &Backend, out: &Output, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Create { name, unit, fields } => {
            let ConnectionFields {
                takes_over,
                strict,
                requests_per_second,
                map,
            } = fields;
            let new = NewConnection {
                name,
                organizational_unit_id: unit,
                takes_over: takes_over.unwrap_or_default(),
                strict: strict.unwrap_or_default(),
                requests_per_second: requests_per_second.unwrap_or_else(usual_rate),
                mapping: mapping(map)?,
            };
            show(backend, out, &backend.create_connection(new).await?).await?;
        }
        Verb::List => {
            let (all, now) = (backend.connections().await?, backend.now());
            out.show(&all, || {
                let lines = all.iter().map(|it| line(&it.connection, now));
                lines.collect()
            });
        }
        Verb::Show { connection } => {
            show(backend, out, &backend.connection(&connection).await?).await?;
        }
        Verb::Changes { connection, before } => {
            let recent = backend.connection_changes(&connection, before).await?;
            out.show(&recent, || lines_of_changes(&recent));
            if let Some(next) = recent.next
                && !out.json
            {
                note(&format!("older ones: --before {next}"));
            }
        }
        Verb::Update {
            connection,
            name,
            unit,
            fields,
            clear_map,
        } => {
            let Connection {
                id, mapping: before, ..
            } = backend.connection(&connection).await?.connection;
            let ConnectionFields {
                takes_over,
                strict,
                requests_per_second,
                map,
            } = fields;
            let changed = mapping(map)?;
            let mapping = (clear_map || !changed.is_empty()).then(|| {
                let mut all = if clear_map { BTreeMap::new() } else { before };
                all.extend(changed);
                all
            });
            let changes = ConnectionChanges {
                name,
                organizational_unit_id: unit,
                takes_over,
                strict,
                disabled: None,
                requests_per_second,
                mapping,
            };
            let changed = backend.update_connection(&id, changes).await?;
            show(backend, out, &changed).await?;
        }
        Verb::Disable { connection } => switch(backend, out, &connection, true).await?,
        Verb::Enable { connection } => switch(backend, out, &connection, false).await?,
        Verb::Delete { connection, confirm } => {
            let Connection { id, name, .. } = backend.connection(&connection).await?.connection;
            if !confirm {
                bail!(Refusal::unconfirmed(format!(
                    "this deletes the connection {name} with its tokens; users and groups that came from it stay"
                )));
            }
            let deleted = backend.delete_connection(&id).await?.connection;
            out.show(&json!({ "deleted": deleted.id }), || format!("{name} is deleted"));
        }
        Verb::Token { verb } => token(backend, out, verb).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The changes of a connection, each with what became of it.
fn lines_of_changes(recent: &Recent) -> String {
    let mut text = String::new();
    for change in &recent.changes {
        text.push_str(&format!(
            "{:>8}  {}  {:<28} {} ({})\n",
            change.seq,
            time(change.time),
            change.kind,
            change.name.as_deref().unwrap_or("–"),
            change.subject_id,
        ));
        let (told, untold): (Vec<_>, Vec<_>) = change
            .applications
            .iter()
            .partition(|arrived| arrived.event.is_some());
        for arrived in told {
            let took = arrived
                .took
                .map_or_else(String::new, |took| format!(", after {took} ms"));
            text.push_str(&format!(
                "          {}: {}{took}\n",
                arrived.application,
                words(&arrived.fate)
            ));
        }
        if !untold.is_empty() {
            let names: Vec<String> = untold.iter().map(|it| it.application.clone()).collect();
            text.push_str(&format!("          not for {}\n", listed(&names)));
        }
    }
    if recent.is_cut {
        text.push_str(
            "only the first applications by name are told of; rollcall why tells of one user at one\n",
        );
    }
    text
}

async fn switch(backend: &Backend, out: &Output, connection: &str, disabled: bool) -> Result<()> {
    let id = backend.connection(connection).await?.connection.id;
    let changes = ConnectionChanges {
        disabled: Some(disabled),
        ..ConnectionChanges::default()
    };
    let changed = backend.update_connection(&id, changes).await?;
    out.show(&changed, || line(&changed.connection, backend.now()));
    Ok(())
}

async fn token(backend: &Backend, out: &Output, verb: TokenVerb) -> Result<()> {
    match verb {
        TokenVerb::Create {
            connection,
            days,
            never,
        } => {
            let id = backend.connection(&connection).await?.connection.id;
            let days = (!never).then_some(days);
            let made = backend.create_connection_token(&id, days).await?;
            out.show(&made, || {
                let FreshConnectionToken { token, secret } = &made;
                format!(
                    "{}token  {secret}\n       (shown only now)\n",
                    line_of_token(token, backend.now())
                )
            });
        }
        TokenVerb::Revoke { connection, token } => {
            let Connection { id, name, tokens, .. } = backend.connection(&connection).await?.connection;
            let mut meant = tokens
                .iter()
                .filter(|it| it.id == token || token.starts_with(&it.prefix));
            let Some(token) = meant.next().map(|it| it.id.clone()) else {
                bail!(ConnectionError::NoToken {
                    connection: name,
                    id: token
                });
            };
            let token = backend.revoke_connection_token(&id, &token).await?;
            out.show(&json!({ "revoked": token.id }), || {
                format!("{}… is good for nothing any more", token.prefix)
            });
        }
    }
    Ok(())
}

fn line(connection: &Connection, now: Millis) -> String {
    let good = connection
        .tokens
        .iter()
        .filter(|token| token.is_good(now))
        .count() as u64;
    let used = connection.tokens.iter().filter_map(|token| token.last_used).max();
    format!(
        "{}  {:<20} {}, {} that {} good, {}\n",
        connection.id,
        connection.name,
        if connection.disabled {
            "DISABLED"
        } else {
            "enabled"
        },
        counted(good, "token"),
        if good == 1 { "is" } else { "are" },
        match used {
            None => "never used".to_owned(),
            Some(at) => format!("last used {}", time(at)),
        }
    )
}

fn line_of_token(token: &ConnectionToken, now: Millis) -> String {
    format!(
        "{}  {}…  {}, {}\n",
        token.id,
        token.prefix,
        match token.expires_at {
            None => "never expires".to_owned(),
            Some(at) if !token.is_good(now) => format!("EXPIRED {}", time(at)),
            Some(at) => format!("expires {}", time(at)),
        },
        match token.last_used {
            None => "never used".to_owned(),
            Some(at) => format!("last used {}", time(at)),
        }
    )
}

/// The path of the unit for new users. It may have been deleted since.
async fn unit_of(backend: &Backend, connection: &Connection) -> Result<String> {
    let id = &connection.organizational_unit_id;
    match backend.unit_at(id).await {
        Ok(at) => Ok(format!("/{}", at.path)),
        Err(error) if Failure::of(&error).code == "not_found" => Ok(format!("{id} (DELETED)")),
        Err(error) => Err(error),
    }
}

/// Shows a connection, and the address for its other end.
async fn show(backend: &Backend, out: &Output, shown: &AddressedConnection) -> Result<()> {
    let AddressedConnection { connection, address } = shown;
    let now = backend.now();
    let unit = match out.json {
        true => String::new(),
        false => unit_of(backend, connection).await?,
    };
    out.show(shown, || {
        let mut text = format!(
            "{}  {}\naddress         {address}\nunit            {unit}\ntakes over      {}\ndialects        {}\n\
             requests        {} a second\nstate           {}\ncreated         {}\nmapping\n",
            connection.id,
            connection.name,
            connection.takes_over.as_str(),
            if connection.strict {
                "none: the standard alone"
            } else {
                "those of large identity providers"
            },
            connection.requests_per_second,
            if connection.disabled {
                "DISABLED"
            } else {
                "enabled"
            },
            time(connection.create_time),
        );
        let usual = USER_IN.iter().map(|(field, _)| *field);
        let mut fields: Vec<&str> = usual
            .chain(connection.mapping.keys().map(String::as_str))
            .collect();
        fields.sort_unstable();
        fields.dedup();
        for field in fields {
            let expression = connection.expression(field).unwrap_or("-");
            text.push_str(&format!("    {field:<15} {expression}\n"));
        }
        text.push_str("tokens\n");
        for token in &connection.tokens {
            text.push_str(&format!("    {}", line_of_token(token, now)));
        }
        if connection.tokens.is_empty() {
            text.push_str(&format!(
                "    none; rollcall connection token create {}\n",
                connection.id
            ));
        }
        text
    });
    Ok(())
}
