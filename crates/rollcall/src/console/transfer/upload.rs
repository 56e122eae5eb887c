//! A form with a file, as browsers send it (multipart/form-data, RFC 7578): the file goes to the disk as it comes.

use std::fs::File;
use std::io::{BufWriter, Write as _};

use axum::extract::Request;
use axum::http::header;
use multer::{Constraints, Multipart, SizeLimit};
use tempfile::TempDir;

use super::kept::Planned;
use crate::console::error::Failure;
use crate::console::form::Filled;
use crate::console::page::View;

/// How large a file may be.
pub(super) const LARGEST: u64 = 64 << 20;

/// How much is read and thrown away of a file that is too large, so that the browser gets to the answer.
const READ: u64 = 4 * LARGEST;

/// How large each other field may be.
const FIELD: u64 = 64 << 10;

/// A file that has arrived.
pub(super) struct Arrived {
    pub(super) name: String,
    pub(super) folder: TempDir,
    /// Whether it was too large, and is not whole.
    pub(super) is_cut: bool,
}

/// Reads the form. Its token has to stand before the file: nothing is stored of a form that is not ours.
pub(super) async fn receive(view: &View, request: Request) -> Result<(Filled, Option<Arrived>), Failure> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|_| Failure::Stale)?;
    let limit = SizeLimit::new()
        .whole_stream(READ)
        .per_field(FIELD)
        .for_field("file", READ);
    let body = request.into_body().into_data_stream();
    let mut parts = Multipart::with_constraints(body, boundary, Constraints::new().size_limit(limit));
    let (mut values, mut arrived) = (Vec::new(), None);
    let mut is_genuine = false;
    // What breaks off, or does not keep to the limits, is no form of ours.
    while let Some(mut part) = parts.next_field().await.map_err(|_| Failure::Stale)? {
        let name = part.name().unwrap_or_default().to_owned();
        if name != "file" {
            let value = part.text().await.map_err(|_| Failure::Stale)?;
            if name == "csrf" {
                view.is_genuine(&value)?;
                is_genuine = true;
            }
            values.push((name, value));
            continue;
        }
        if !is_genuine {
            return Err(Failure::Stale);
        }
        let name = plain(part.file_name().unwrap_or_default());
        let folder = tempfile::tempdir().map_err(unusable)?;
        let mut file = BufWriter::new(File::create(Planned::path(&folder, &name)).map_err(unusable)?);
        let mut size = 0;
        while let Some(portion) = part.chunk().await.map_err(|_| Failure::Stale)? {
            size += portion.len() as u64;
            if size <= LARGEST {
                file.write_all(&portion).map_err(unusable)?;
            }
        }
        file.flush().map_err(unusable)?;
        if size > 0 {
            let is_cut = size > LARGEST;
            arrived = Some(Arrived { name, folder, is_cut });
        }
    }
    match is_genuine {
        true => Ok((Filled::sent(values), arrived)),
        false => Err(Failure::Stale),
    }
}

/// A file of ours that cannot be written.
fn unusable(error: std::io::Error) -> Failure {
    Failure::Internal(format!("a temporary file cannot be used: {error}"))
}

/// The name of a file, as one may be called here.
fn plain(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| {
        if c.is_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = last.chars().take(60).map(plain).collect();
    match name.chars().any(|c| c != '.') {
        true => name,
        false => "upload".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_file_is_called_nothing_that_leads_elsewhere() {
        for (name, called) in [
            ("people.csv", "people.csv"),
            ("C:\\Users\\ada\\people.csv", "people.csv"),
            ("../../etc/passwd", "passwd"),
            ("员工 2026.csv", "员工_2026.csv"),
            ("..", "upload"),
            ("", "upload"),
        ] {
            assert_eq!(plain(name), called, "{name}");
        }
    }
}
