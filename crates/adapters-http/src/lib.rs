//! The HTTP interface on actix-web: routes, wire formats, authentication and problem responses. It knows the
//! use cases and the ports; neither SQL nor any other adapter.

mod authentication;
mod body;
mod connections;
mod credential;
pub mod documents;
mod metrics;
mod middleware;
mod openapi;
mod paths;
mod problem;
mod request_log;
mod routes;
mod server;
mod vocabulary;
mod wire;

pub use authentication::{ApiKeyError, ApiKeys, SigningSecrets, WebhookAuthentication, is_quoted};
pub use server::{Parts, Server, ServerSettings, listen};
pub use wire::{FieldError, InvalidNotification, ValidNotification, read_notification};
