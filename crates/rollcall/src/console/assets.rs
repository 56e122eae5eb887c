//! Style sheet and scripts: embedded, and served under names that hold their hash, so that browsers may keep them for
//! good. They are compressed; pages are not: a page repeats what stands in its address, and beside it what proves that a
//! form is genuine, which the length of a compressed page would tell.

use std::io::{self, Write as _};
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

struct Asset {
    /// With its hash.
    name: String,
    kind: &'static str,
    bytes: &'static [u8],
    /// The same, compressed.
    packed: Option<Vec<u8>>,
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, bytes: &'static [u8]) -> Self {
        let hash = base16ct::lower::encode_string(&digest(&SHA256, bytes).as_ref()[..6]);
        Self {
            name: format!("{stem}-{hash}.{extension}"),
            kind,
            bytes,
            packed: packed(bytes).ok(),
        }
    }
}

fn packed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../../assets/console/style.css");
    Asset::new("style", "css", "text/css; charset=utf-8", bytes)
});
static CONSOLE: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../../assets/console/console.js");
    Asset::new("console", "js", SCRIPT, bytes)
});
static HTMX: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../../assets/console/htmx-2.0.11.js");
    Asset::new("htmx", "js", SCRIPT, bytes)
});
static SSE: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../../assets/console/htmx-sse-2.2.4.js");
    Asset::new("htmx-sse", "js", SCRIPT, bytes)
});
static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let bytes = include_bytes!("../../assets/console/icon.svg");
    Asset::new("icon", "svg", "image/svg+xml", bytes)
});

/// Where the pages find them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assets;

impl Assets {
    pub(super) fn style(self) -> String {
        address(&STYLE)
    }

    pub(super) fn console(self) -> String {
        address(&CONSOLE)
    }

    pub(super) fn htmx(self) -> String {
        address(&HTMX)
    }

    pub(super) fn sse(self) -> String {
        address(&SSE)
    }

    pub(super) fn icon(self) -> String {
        address(&ICON)
    }
}

fn address(asset: &Asset) -> String {
    format!("/console/assets/{}", asset.name)
}

/// Whether whoever asks can read what is compressed.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    let mut codings = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse().is_ok_and(|weight: f32| weight > 0.0)
    })
}

/// Serves one. They are no secret, so nobody has to sign in for them.
pub(super) async fn serve(Path(name): Path<String>, asked: HeaderMap) -> Response {
    let all: [&Asset; 5] = [&STYLE, &CONSOLE, &HTMX, &SSE, &ICON];
    let Some(asset) = all.into_iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
    ];
    match asset.packed.as_ref().filter(|_| takes_gzip(&asked)) {
        Some(packed) => (headers, [(header::CONTENT_ENCODING, "gzip")], packed.clone()).into_response(),
        None => (headers, asset.bytes).into_response(),
    }
}
