//! What addresses are like, for those who describe, serve and log them.

/// Where callbacks come in.
pub(crate) const WEBHOOK: &str = "/api/payments/webhook";

/// The files of `/docs`.
pub(crate) const DOCS_FILES: [&str; 3] = ["start.js", "swagger-ui-bundle.js", "swagger-ui.css"];

/// The methods of an address that is read, as `Allow` has them.
pub(crate) const GET: &str = "GET, HEAD";

/// The method of an address that is sent to.
pub(crate) const POST: &str = "POST";
