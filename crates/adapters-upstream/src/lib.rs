//! Clients of the services around this one: the portal, which is told of events. What an answer means for an event, and
//! when it is sent again, is not decided here.

mod portal;

pub use portal::Portal;
