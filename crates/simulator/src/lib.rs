//! What stands in for the neighbours of the service, for the tests and the demonstration: the senders with
//! their recorded requests, a client that speaks raw HTTP, the service itself as a process among others,
//! logging-microservice, and a network path to the database that can be cut. Nothing here knows how the service
//! works inside.

mod http;
mod logging_service;
mod proxy;
pub mod recorded;
mod service;

pub use http::{Connection, Request, Response, percent_encoded};
pub use logging_service::{Conduct, LoggingService, Refusal};
pub use proxy::Proxy;
pub use service::{Service, Stopped, program_beside};
