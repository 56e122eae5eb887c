//! The whole directory as a file, from and to a hub elsewhere.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rollcall_server::StopSignals;

use super::client::Client;
use crate::api::{EXPORTED, LARGEST};
use crate::cli::failure::Refusal;
use crate::cli::files::Import;
use crate::export::Exported;
use crate::import::{Delimiter, Dn, Format, ImportReport};

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Csv => "csv",
        Format::Ldif => "ldif",
        Format::Jsonl => "jsonl",
    }
}

/// What the file is called in the hub's change log, which takes letters, digits and few signs.
fn plain_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    match name.as_ref() {
        "" | "-" => "stdin".to_owned(),
        name => name.chars().take(100).map(plain).collect(),
    }
}

/// Has a hub elsewhere import a file, and tells how far it is. Ctrl-C ends the waiting, and with it the import.
pub(in crate::cli) async fn import(
    client: &Client,
    arguments: &Import,
    file: &Path,
    format: Format,
    progress: impl Fn(&str, u64),
) -> Result<ImportReport> {
    let size = std::fs::metadata(file)
        .with_context(|| arguments.file.display().to_string())?
        .len();
    if size > LARGEST {
        bail!(Refusal::wrong_use(
            format!(
                "the file is larger than the {} MiB that a hub elsewhere takes",
                LARGEST >> 20
            ),
            "import it on a machine that reaches the hub's database, without --server",
        ));
    }
    let delimiter = arguments.delimiter.map(|delimiter| match delimiter {
        Delimiter::Comma => "comma",
        Delimiter::Semicolon => "semicolon",
        Delimiter::Tab => "tab",
    });
    let mut signals = StopSignals::listen()?;
    let importing = client
        .post(&["import"])
        .with("format", format_name(format))
        .with("name", plain_name(&arguments.file))
        .with("dryRun", arguments.dry_run)
        .with("adopt", arguments.adopt)
        .with("deleteMissing", arguments.delete_missing)
        .with("maxDeletions", arguments.max_deletions)
        .with("mapping", arguments.mapping.join(";"))
        .with("progress", true)
        .with_some("delimiter", delimiter)
        .with_some("owner", arguments.owner.as_ref())
        .with_some("base", arguments.base.as_ref())
        .file(file)
        .patiently();
    let reached = RefCell::new(String::new());
    let importing = importing.import(|what, done| {
        *reached.borrow_mut() = format!(" ({done} {what} so far)");
        progress(what, done);
    });
    tokio::select! {
        report = importing => report,
        () = signals.next() => bail!(Refusal::of(
            "cancelled",
            format!(
                "it is not waited for any more{}; the hub stops after the portion that it is writing, and what was \
                 written stays: rollcall audit tells how much",
                reached.borrow()
            ),
            "the same command goes on from there",
        )),
    }
}

/// Writes what a hub elsewhere exports.
pub(in crate::cli) async fn export(
    client: &Client,
    format: Format,
    base: &Dn,
    sink: impl Write,
) -> Result<Exported> {
    let export = client
        .get(&["export"])
        .with("format", format_name(format))
        .with("base", base)
        .patiently();
    let counted = export.download(&EXPORTED, sink).await?;
    serde_json::from_str(&counted).context("the hub does not say how much it has exported")
}
