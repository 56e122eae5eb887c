//! The whole directory as a file: writing it, and importing one.

use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, Write as _};
use std::sync::Arc;

use axum::body::{Body as Stream, Bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse as _;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;

use super::importing::{Imported, Running, Work};
use crate::access::Permission;
use crate::api::describe::Sent;
use crate::api::door::Door;
use crate::api::extract::Query;
use crate::api::routes::Routes;
use crate::api::{Api, ApiError};
use crate::directory::Source;
use crate::export::export;
use crate::import::{DeletionLimit, Dn, Format, Mapping, Options};

/// How large a file may be that is imported through the API.
pub(crate) const LARGEST: u64 = 256 << 20;

/// How much of a file is sent at once.
const PORTION: usize = 64 << 10;

/// The header that says how much an exported file holds, as JSON.
pub(crate) const EXPORTED: HeaderName = HeaderName::from_static("x-exported");

/// What stands above everything in LDIF if nobody says.
const BASE: &str = "dc=rollcall";

/// The routes.
pub(super) fn add(routes: Routes<Arc<Api>>) -> Routes<Arc<Api>> {
    routes
        .get(
            "/export",
            Permission::ExportDirectory,
            "Writes units, users and groups as a file: jsonl holds everything, csv the users, ldif what LDAP has \
             attributes for. Passwords are never exported.",
            export_directory,
        )
        .post(
            "/import",
            Permission::WriteDirectory,
            "Imports the file that is the body; only differences become changes. With dryRun=true it says what would \
             be done, and does nothing. With progress=true the answer is told as the import goes on, a JSON object on \
             each line: how far it is, and at last its report, or the problem that ended it.",
            import_file,
        )
}

/// The form of a file.
#[derive(Clone, Copy, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Form {
    /// A JSON object for each unit, user and group: everything, without loss.
    #[default]
    Jsonl,
    /// A line for each user, under a header.
    Csv,
    /// What LDAP servers export.
    Ldif,
}

impl Form {
    fn format(self) -> Format {
        match self {
            Self::Jsonl => Format::Jsonl,
            Self::Csv => Format::Csv,
            Self::Ldif => Format::Ldif,
        }
    }

    /// What a file of this form is called, and its type.
    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Jsonl => ("directory.jsonl", "application/jsonl"),
            Self::Csv => ("directory.csv", "text/csv; charset=utf-8"),
            Self::Ldif => ("directory.ldif", "text/plain; charset=utf-8"),
        }
    }
}

fn base(text: &str) -> Result<Dn, ApiError> {
    Dn::parse(text).map_err(|error| ApiError::bad_request(format!("the query: base: {error}")))
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Exporting {
    #[serde(default)]
    format: Form,
    /// LDIF: the entry above everything.
    base: Option<String>,
}

/// A file of ours that cannot be written or read.
fn unwritable(error: std::io::Error) -> ApiError {
    ApiError::internal(format!("a temporary file cannot be used: {error}"))
}

async fn export_directory(api: Door, Query(how): Query<Exporting>) -> Result<Sent, ApiError> {
    let base = base(how.base.as_deref().unwrap_or(BASE))?;
    // Written as a whole before it is sent: what fails halfway would look like a whole file otherwise.
    let mut file = tempfile::tempfile().map_err(unwritable)?;
    let exported = export(
        &api.shared.hub,
        how.format.format(),
        &base,
        BufWriter::new(&mut file),
    )
    .await?;
    file.rewind().map_err(unwritable)?;
    let (name, kind) = how.format.named();
    let disposition = HeaderValue::from_static(match name {
        "directory.csv" => "attachment; filename=\"directory.csv\"",
        "directory.ldif" => "attachment; filename=\"directory.ldif\"",
        _ => "attachment; filename=\"directory.jsonl\"",
    });
    let counted = serde_json::to_string(&exported).unwrap_or_default();
    let counted = HeaderValue::from_str(&counted).map_err(|error| ApiError::internal(error.to_string()))?;
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, disposition),
        (EXPORTED, counted),
    ];
    let sent = (headers, Stream::from_stream(portions(file))).into_response();
    Ok(Sent(sent))
}

/// The portions of a file.
pub(crate) fn portions(file: File) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut portion = vec![0; PORTION];
            let read = file.read(&mut portion)?;
            portion.truncate(read);
            Ok::<_, std::io::Error>((Bytes::from(portion), file))
        });
        match reading.await {
            Ok(Ok((portion, _))) if portion.is_empty() => None,
            Ok(Ok((portion, file))) => Some((Ok(portion), Some(file))),
            Ok(Err(error)) => Some((Err(error), None)),
            Err(error) => Some((Err(std::io::Error::other(error)), None)),
        }
    })
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Importing {
    /// The form of the body.
    format: Form,
    /// What the file is called: it stands in the change log.
    #[serde(default = "unnamed")]
    name: String,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    dry_run: bool,
    /// To whom everything belongs that is imported, such as ldap:example.
    owner: Option<String>,
    /// Take over what belongs to others and is in the file.
    #[serde(default)]
    adopt: bool,
    /// Delete what belongs to the owner and is not in the file.
    #[serde(default)]
    delete_missing: bool,
    /// Delete nothing if more than this would go, a number or a percentage.
    #[serde(default = "some_deletions")]
    max_deletions: String,
    /// LDIF: the entry that is the root here.
    base: Option<String>,
    /// Other names of columns or attributes: FIELD=NAME, with semicolons between several.
    #[serde(default)]
    mapping: String,
    /// CSV: what separates the columns: comma, semicolon or tab; left out: told from the header.
    delimiter: Option<String>,
    /// Tell how far it is, line by line.
    #[serde(default)]
    progress: bool,
}

fn unnamed() -> String {
    "api".to_owned()
}

fn some_deletions() -> String {
    "10%".to_owned()
}

impl Importing {
    fn options(&self, file: std::path::PathBuf) -> Result<Options, ApiError> {
        let refuse = |name: &str, error: &dyn std::fmt::Display| {
            ApiError::bad_request(format!("the query: {name}: {error}"))
        };
        let mappings: Vec<&str> = self.mapping.split(';').filter(|it| !it.is_empty()).collect();
        let owner = self.owner.as_deref().map(str::parse::<Source>).transpose();
        let limit: DeletionLimit = self
            .max_deletions
            .parse()
            .map_err(|error: String| refuse("maxDeletions", &error))?;
        let delimiter = self.delimiter.as_deref().map(str::parse).transpose();
        Ok(Options {
            mapping: Mapping::parse(&mappings)?,
            delimiter: delimiter.map_err(|error: String| refuse("delimiter", &error))?,
            base: self.base.as_deref().map(base).transpose()?,
            owner: owner.map_err(|error| refuse("owner", &error))?,
            adopt: self.adopt,
            dry_run: self.dry_run,
            delete_missing: self.delete_missing.then_some(limit),
            ..Options::of(file, self.format.format())
        })
    }

    /// The name, if a file may be called so.
    fn file_name(&self) -> Result<&str, ApiError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let fits = (1..=100).contains(&self.name.len()) && self.name.chars().all(is_plain);
        if fits && self.name.chars().any(|c| c != '.') {
            return Ok(&self.name);
        }
        let message = "the query: name: at most 100 letters, digits, dots, hyphens and underscores";
        Err(ApiError::bad_request(message))
    }
}

async fn import_file(
    api: Door,
    Query(how): Query<Importing>,
    request: Request,
) -> Result<Imported, ApiError> {
    let name = how.file_name()?.to_owned();
    // It is read in several passes, which a stream cannot be.
    let folder = tempfile::tempdir().map_err(unwritable)?;
    let path = folder.path().join(&name);
    let options = how.options(path.clone())?;
    let mut file = BufWriter::new(File::create(&path).map_err(unwritable)?);
    let mut body = request.into_body().into_data_stream();
    let mut size = 0;
    while let Some(portion) = body.next().await {
        let portion =
            portion.map_err(|error| ApiError::bad_request(format!("the body ends early: {error}")))?;
        size += portion.len() as u64;
        if size > LARGEST {
            return Err(ApiError::too_large(format!(
                "the file is larger than {} MiB; import it at the command line",
                LARGEST >> 20
            )));
        }
        file.write_all(&portion).map_err(unwritable)?;
    }
    file.flush().map_err(unwritable)?;
    let running = Running::start(
        Work {
            hub: api.shared.hub.clone(),
            caller: api.caller.clone(),
            options,
            name,
        },
        folder,
    );
    Ok(match how.progress {
        true => Imported::Steps(running),
        false => Imported::Report(Box::new(running.report().await?)),
    })
}
