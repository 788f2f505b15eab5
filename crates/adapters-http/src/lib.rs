//! The HTTP interface on actix-web: routes, wire formats, authentication and problem responses. It knows the
//! use cases and the ports; neither SQL nor any other adapter.

mod authentication;
mod body;
mod connections;
mod context;
mod desk;
pub mod documents;
mod journal;
mod metrics;
mod openapi;
mod problem;
mod routes;
mod server;
mod wire;

pub use authentication::{ApiKeyError, ApiKeys, SigningSecretError, SigningSecrets, WebhookAuthentication, is_quoted};
pub use desk::Desk;
pub use metrics::{LogRecords, Metrics};
pub use server::{Server, ServerSettings, listen};
pub use wire::{FieldError, InvalidNotification, ValidNotification, read_notification};
