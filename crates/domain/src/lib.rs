//! Payments, orders, money, notifications and the rule that settles them, as plain values and pure
//! functions. No clock, no identifiers of its own making, no I/O, no storage, no logging: whoever calls
//! brings the time and the ids, and stores what comes back.

mod books;
mod delivery;
mod event;
mod money;
mod notification;
mod order;
mod payment;
mod record;
mod registration;
mod status;
mod text;
mod time;

pub use books::{Books, Cancellation, Changes, PartialRefund, RegistrationOutcome, Settlement};
pub use delivery::{
    Delivery, DeliveryId, KeyName, Mismatch, Obstacle, Outcome, OutcomeKind, ParkedNotification, Receipt, RequestId,
    Source,
};
pub use event::{Event, EventKind};
pub use money::{Currency, Decimal, Money, MoneyError};
pub use notification::{Content, Notification, NotificationIdentity, Payload, Report};
pub use order::Order;
pub use payment::ExternalPayment;
pub use record::{MethodRecord, RecordDetails};
pub use registration::{NewIdError, Registration, parse_new_order_id, parse_new_payment_id};
pub use status::{OrderStatus, PaymentMethod, PaymentStatus, WordError, parse_word, words};
pub use text::{InvoiceNumber, MethodName, OrderId, PaymentId, RedirectUrl, TextError, TransactionId, UserId};
pub use time::{TimestampError, parse_reported_timestamp, parse_timestamp};
