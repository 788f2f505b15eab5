use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, Path};

use crate::openapi::problems::{OfFiles, OfReading};
use crate::problem::Problem;
use crate::vocabulary;

const PAGE: &str = concat!(
    r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>payment-callback</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css?"#,
    env!("SWAGGER_UI_VERSION"),
    r#"">
<div id="interface"></div>
<script src="docs/swagger-ui-bundle.js?"#,
    env!("SWAGGER_UI_VERSION"),
    r#""></script>
<script src="docs/start.js"></script>
"#
);

/// Without a validator, which would be asked over the Internet.
const START: &str = r##"SwaggerUIBundle({
    url: "api/openapi.json",
    dom_id: "#interface",
    deepLinking: true,
    validatorUrl: null,
});
"##;

/// Nothing from elsewhere, and no script or style that stands in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Gzipped by the build; every browser takes it so.
const BUNDLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));
const STYLES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));

/// `GET /docs`: the description of the interface in a browser.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "open",
    operation_id = "docs",
    summary = "This description in a browser",
    responses((status = 200, description = "A page", body = String, content_type = "text/html"), OfReading),
)]
pub(crate) async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(PAGE)
}

/// `GET /docs/{file}`: what the page consists of.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    tag = "open",
    operation_id = "docs_file",
    summary = "What that page consists of",
    params(("file" = inline(vocabulary::DocsFile), Path)),
    responses(
        (status = 200, description = "A script or a style sheet", content(
            (String = "text/javascript"),
            (String = "text/css"),
        )),
        OfFiles,
    ),
)]
pub(crate) async fn file(file: Path<String>) -> Result<HttpResponse, Problem> {
    match file.as_str() {
        "swagger-ui-bundle.js" => Ok(unchanging("text/javascript", BUNDLE)),
        "swagger-ui.css" => Ok(unchanging("text/css", STYLES)),
        "start.js" => Ok(HttpResponse::Ok()
            .content_type("text/javascript")
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .body(START)),
        _ => Err(Problem::not_found()),
    }
}

/// A file that the page asks for by its version.
fn unchanging(content_type: &'static str, gzipped: &'static [u8]) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::CONTENT_ENCODING, "gzip"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(Bytes::from_static(gzipped))
}
