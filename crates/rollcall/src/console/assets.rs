//! Style sheet and scripts: embedded, and served under names that hold their hash, so that browsers may keep them for
//! good.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

struct Asset {
    /// With its hash.
    name: String,
    kind: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, bytes: &'static [u8]) -> Self {
        let hash = base16ct::lower::encode_string(&digest(&SHA256, bytes).as_ref()[..6]);
        Self {
            name: format!("{stem}-{hash}.{extension}"),
            kind,
            bytes,
        }
    }
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

/// Serves one. They are no secret, so nobody has to sign in for them.
pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let all: [&Asset; 5] = [&STYLE, &CONSOLE, &HTMX, &SSE, &ICON];
    let Some(asset) = all.into_iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.bytes).into_response()
}
