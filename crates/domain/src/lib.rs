//! Payments, orders, money, notifications and the rule that settles them, as plain values and pure
//! functions. No clock, no identifiers of its own making, no I/O, no storage, no logging: the caller
//! brings the time and the ids, and stores what comes back.
//!
//! Open the books, settle a notification, close the books:
//!
//! ```
//! use domain::*;
//!
//! let now = parse_timestamp("2026-11-25T12:00:00Z")?;
//! let (payment_id, order_id) = (PaymentId::parse("payment-1")?, OrderId::parse("order-1")?);
//! let price = Money::new("29.00".parse()?, Currency::parse("EUR")?)?;
//!
//! // A ledger reads these from its tables.
//! let order = Order::open(order_id.clone(), price, now);
//! let (method, redirect_url, details) = (PaymentMethod::Webpay, None, RecordDetails::default());
//! let registration = Registration { payment_id, order_id, price, method, redirect_url, details };
//! let mut books = Books::open(vec![registration.payment(now)], vec![order], vec![], vec![]);
//!
//! let Registration { payment_id, order_id, .. } = registration;
//! let notification = Notification {
//!     payment_id, order_id: order_id.clone(), report: Report::Reached(PaymentStatus::Completed), method: None,
//!     amount: None, currency: None, sent_at: now, transaction_id: None,
//! };
//! let provenance = Provenance {
//!     delivery_id: DeliveryId::first_at(now), received_at: now, source: Source::Callback, body_sha256: None,
//!     key_name: None, request_id: None,
//! };
//! let settlement = books.settle(&notification, provenance);
//! assert_eq!(settlement.delivery.outcome, Outcome::Completed);
//! assert_eq!(books.order(&order_id).map(|order| order.status), Some(OrderStatus::Paid));
//!
//! // A ledger stores these in one transaction.
//! let changes = books.close();
//! assert_eq!((changes.changed_payments.len(), changes.changed_orders.len(), changes.deliveries.len()), (1, 1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod books;
mod delivery;
mod event;
mod money;
mod notification;
mod order;
mod payment;
mod record;
mod registration;
mod retry_schedule;
mod status;
mod text;
mod time;

pub use books::{Books, Cancellation, Changes, PartialRefund, RegistrationOutcome, Settlement};
pub use delivery::{
    Delivery, DeliveryId, KeyName, Mismatch, Outcome, OutcomeClass, OutcomeKind, ParkedNotification, Provenance,
    RequestId, Source, UnappliedReason,
};
pub use event::{Event, EventAttempt, EventId, EventKind, EventState};
pub use money::{Currency, Decimal, Money, MoneyError};
pub use notification::{Content, Notification, NotificationIdentity, Payload, Report};
pub use order::Order;
pub use payment::ExternalPayment;
pub use record::{MethodRecord, RecordDetails, RecordKind};
pub use registration::{NewIdError, Registration, parse_new_order_id, parse_new_payment_id};
pub use retry_schedule::{RetrySchedule, RetryScheduleError};
pub use status::{OrderStatus, PaymentMethod, PaymentStatus, WordError, parse_word, words};
pub use text::{InvoiceNumber, MethodName, OrderId, PaymentId, RedirectUrl, TextError, TransactionId, UserId};
pub use time::{TimestampError, parse_reported_timestamp, parse_timestamp};
