//! Requests of real senders, as they went over the wire (the host name replaced).

/// A client of payments-microservice registers a payment, with fields that are not in the contract.
pub const MARATHON_REGISTER: &[u8] = include_bytes!("../fixtures/marathon-register.http");

/// The same client reports that payment as completed.
pub const MARATHON_COMPLETED: &[u8] = include_bytes!("../fixtures/marathon-completed.http");

/// The key of this client.
pub const MARATHON_KEY: &str = "portal-key-1";

/// The payment that it pays with.
pub const MARATHON_PAYMENT: &str = "fb0a6014-da50-4056-8574-330a66f2921b";

/// The order that it pays.
pub const MARATHON_ORDER: &str = "marathon:22855c43-0000-4000-8000-000000000001:1767322800123";

/// An older payments-microservice reports a completion: without a key and without a payment method.
pub const OLDER_COMPLETED: &[u8] = include_bytes!("../fixtures/upstream-older-completed.http");

/// It reports the same completion again, with a new timestamp.
pub const OLDER_COMPLETED_AGAIN: &[u8] = include_bytes!("../fixtures/upstream-older-completed-again.http");

/// It reports a failure.
pub const OLDER_FAILED: &[u8] = include_bytes!("../fixtures/upstream-older-failed.http");

/// It reports a full refund.
pub const OLDER_FULL_REFUND: &[u8] = include_bytes!("../fixtures/upstream-older-full-refund.http");

/// It reports a partial refund.
pub const OLDER_PARTIAL_REFUND: &[u8] = include_bytes!("../fixtures/upstream-older-partial-refund.http");

/// It reports on an order whose id has spaces, quotes and letters beyond ASCII, at an address with a query.
pub const OLDER_UNICODE_ORDER: &[u8] = include_bytes!("../fixtures/upstream-older-unicode-order.http");

/// The example body in the specification of payments-microservice.
pub const DOCUMENTED_COMPLETED: &str = include_str!("../fixtures/documented-completed.json");
