//! Stand-ins for the neighbours of the service, for the tests, the demonstration and the program `simulator`: the
//! senders with their recorded requests, a client that sends raw HTTP, the service itself as a process, a server that
//! answers as a neighbour does or misbehaves, the portal, payments-microservice and logging-microservice on it, and a
//! network path to the database that can be cut.
//! Nothing here knows how the service works inside.

mod callbacks;
mod client;
mod clock;
mod faults;
mod logging_service;
mod payments_service;
mod portal;
mod proxy;
pub mod recorded;
mod server;
mod service;
mod watched;

pub use callbacks::{Form, Sending, SentCallback};
pub use client::{Connection, Request, Response, percent_encoded};
pub use clock::timestamp;
pub use logging_service::{LoggingService, read_record, record_answer};
pub use payments_service::{Asked, Change, PaymentsService};
pub use portal::{EVENTS_PATH, EventReceiver, HeardEvent, Portal};
pub use proxy::Proxy;
pub use server::{Behaviour, Refusal, Server, empty_answer, json_answer};
pub use service::{Service, Stopped, program_beside};
