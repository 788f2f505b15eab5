//! What is measured, part by part. Within a part the contenders take turns, so that whatever else happens on the
//! machine happens to all of them.

pub(crate) mod closed;
pub(crate) mod destinations;
pub(crate) mod events;
pub(crate) mod footprint;
pub(crate) mod lone;
pub(crate) mod open;
pub(crate) mod replicas;
pub(crate) mod sizes;
