//! Rows as they are stored, and what they mean to the domain. Each is mapped field by field, so that a new
//! column or a new field does not compile until somebody has decided about it.

use std::str::FromStr;

use diesel::prelude::*;
use domain::{
    Content, Currency, Delivery, Event, ExternalPayment, InvoiceNumber, KeyName, MethodName, MethodRecord, Money,
    Order, OrderId, Outcome, OutcomeKind, ParkedNotification, PartialRefund, Payload, PaymentId, PaymentMethod,
    Receipt, RedirectUrl, RequestId, TransactionId, UserId,
};
use ports::RecordedPayment;
use sha2::{Digest as _, Sha256};

use crate::schema::{
    deliveries, events, external_payments, inner_payments, invoice_payments, open_payments, orders, parked_deliveries,
    partial_refunds, paypal_payments, webpay_payments,
};
use crate::{At, Key, StorageError, SurrogateKeys};

type Parsed<T> = Result<T, StorageError>;

/// Reads a stored text by the domain's own rule for it.
fn parse<T, E>(what: &'static str, value: String, parser: impl FnOnce(&str) -> Result<T, E>) -> Parsed<T> {
    parser(&value).map_err(|_| StorageError::Corrupt { what, value })
}

fn parse_some<T, E>(
    what: &'static str,
    value: Option<String>,
    parser: impl FnOnce(&str) -> Result<T, E>,
) -> Parsed<Option<T>> {
    value.map(|value| parse(what, value, parser)).transpose()
}

/// As [`parse_some`], for what may be somebody's own and must not be shown.
fn parse_private<T, E>(
    what: &'static str,
    value: Option<String>,
    parser: impl FnOnce(&str) -> Result<T, E>,
) -> Parsed<Option<T>> {
    parse_some(what, value, parser).map_err(|error| match error {
        StorageError::Corrupt { what, value } => {
            StorageError::Corrupt { what, value: format!("{} bytes", value.len()) }
        }
        error => error,
    })
}

fn money(what: &'static str, amount_minor: i64, currency: String) -> Parsed<Money> {
    let known = parse(what, currency, Currency::parse)?;
    Money::from_minor(amount_minor, known).map_err(|_| StorageError::Corrupt { what, value: amount_minor.to_string() })
}

/// A row of `orders` without its key, which the database gives.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = orders, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct OrderRow {
    pub order_id: String,
    pub amount_minor: i64,
    pub currency: String,
    pub status: String,
    pub paid_by: Option<String>,
    pub paid_at: Option<At>,
    pub created_at: At,
    pub updated_at: At,
}

impl From<Order> for OrderRow {
    fn from(order: Order) -> Self {
        let Order { id, price, status, paid_by, paid_at, created_at, updated_at } = order;
        Self {
            order_id: id.to_string(),
            amount_minor: price.minor(),
            currency: price.currency().to_string(),
            status: status.to_string(),
            paid_by: paid_by.map(|id| id.to_string()),
            paid_at: paid_at.map(At),
            created_at: At(created_at),
            updated_at: At(updated_at),
        }
    }
}

impl TryFrom<OrderRow> for Order {
    type Error = StorageError;

    fn try_from(row: OrderRow) -> Parsed<Self> {
        let OrderRow { order_id, amount_minor, currency, status, paid_by, paid_at, created_at, updated_at } = row;
        Ok(Self {
            id: parse("orders.order_id", order_id, OrderId::parse)?,
            price: money("orders.amount_minor and currency", amount_minor, currency)?,
            status: parse("orders.status", status, FromStr::from_str)?,
            paid_by: parse_some("orders.paid_by", paid_by, PaymentId::parse)?,
            paid_at: paid_at.map(|at| at.0),
            created_at: created_at.0,
            updated_at: updated_at.0,
        })
    }
}

/// What settling changes in a row of `orders`.
#[derive(Debug)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct OrderChange {
    pub order_key: i64,
    pub status: String,
    pub paid_by: Option<String>,
    pub paid_at: Option<At>,
    pub updated_at: At,
}

impl OrderChange {
    /// How the row of this order is to be.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`] if its key is unknown.
    pub fn new(order: &Order, keys: &SurrogateKeys) -> Parsed<Self> {
        Ok(Self {
            order_key: keys.order(&order.id)?,
            status: order.status.to_string(),
            paid_by: order.paid_by.as_ref().map(ToString::to_string),
            paid_at: order.paid_at.map(At),
            updated_at: At(order.updated_at),
        })
    }
}

/// A row of `external_payments` without its key, which the database gives.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = external_payments, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct PaymentRow {
    pub payment_id: String,
    pub order_key: i64,
    pub method: String,
    pub amount_minor: i64,
    pub currency: String,
    pub status: String,
    pub redirect_url: Option<String>,
    pub transaction_id: Option<String>,
    pub created_at: At,
    pub updated_at: At,
    pub paid_at: Option<At>,
}

impl PaymentRow {
    /// The row of a payment.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`] if the key of its order is unknown.
    pub fn new(payment: ExternalPayment, keys: &SurrogateKeys) -> Parsed<Self> {
        let ExternalPayment {
            id,
            order_id,
            method,
            price,
            status,
            redirect_url,
            transaction_id,
            created_at,
            updated_at,
            paid_at,
        } = payment;
        Ok(Self {
            payment_id: id.to_string(),
            order_key: keys.order(&order_id)?,
            method: method.to_string(),
            amount_minor: price.minor(),
            currency: price.currency().to_string(),
            status: status.to_string(),
            redirect_url: redirect_url.map(|url| url.to_string()),
            transaction_id: transaction_id.map(|id| id.to_string()),
            created_at: At(created_at),
            updated_at: At(updated_at),
            paid_at: paid_at.map(At),
        })
    }

    /// The payment, which is for the order with this id.
    pub(crate) fn payment(self, order_id: OrderId) -> Parsed<ExternalPayment> {
        let Self {
            payment_id,
            order_key: _,
            method,
            amount_minor,
            currency,
            status,
            redirect_url,
            transaction_id,
            created_at,
            updated_at,
            paid_at,
        } = self;
        Ok(ExternalPayment {
            id: parse("external_payments.payment_id", payment_id, PaymentId::parse)?,
            order_id,
            method: parse("external_payments.method", method, FromStr::from_str)?,
            price: money("external_payments.amount_minor and currency", amount_minor, currency)?,
            status: parse("external_payments.status", status, FromStr::from_str)?,
            redirect_url: parse_private("external_payments.redirect_url", redirect_url, RedirectUrl::parse)?,
            transaction_id: parse_some("external_payments.transaction_id", transaction_id, TransactionId::parse)?,
            created_at: created_at.0,
            updated_at: updated_at.0,
            paid_at: paid_at.map(|at| at.0),
        })
    }
}

/// What settling changes in a row of `external_payments`.
#[derive(Debug)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct PaymentChange {
    pub payment_key: i64,
    pub status: String,
    pub transaction_id: Option<String>,
    pub updated_at: At,
    pub paid_at: Option<At>,
}

impl PaymentChange {
    /// How the row of this payment is to be.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`] if its key is unknown.
    pub fn new(payment: &ExternalPayment, keys: &SurrogateKeys) -> Parsed<Self> {
        Ok(Self {
            payment_key: keys.payment(&payment.id)?,
            status: payment.status.to_string(),
            transaction_id: payment.transaction_id.as_ref().map(ToString::to_string),
            updated_at: At(payment.updated_at),
            paid_at: payment.paid_at.map(At),
        })
    }
}

/// A row of `open_payments`.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = open_payments, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct OpenRow {
    pub created_at: At,
    pub payment_key: i64,
}

impl OpenRow {
    /// The row of a payment whose end is still to be heard of.
    ///
    /// # Errors
    /// [`StorageError::Unregistered`] if its key is unknown.
    pub fn new(payment: &ExternalPayment, keys: &SurrogateKeys) -> Parsed<Self> {
        Ok(Self { created_at: At(payment.created_at), payment_key: keys.payment(&payment.id)? })
    }
}

/// A row of `paypal_payments`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = paypal_payments, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct PaypalRow {
    pub payment_key: i64,
    pub status: String,
    pub transaction_id: Option<String>,
}

/// A row of `webpay_payments`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = webpay_payments, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct WebpayRow {
    pub payment_key: i64,
    pub status: String,
    pub transaction_id: Option<String>,
}

/// A row of `inner_payments`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = inner_payments, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct InnerRow {
    pub payment_key: i64,
    pub status: String,
    pub user_id: Option<String>,
}

/// A row of `invoice_payments`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = invoice_payments, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct InvoiceRow {
    pub payment_key: i64,
    pub status: String,
    pub invoice_number: Option<String>,
    pub receipt: Option<String>,
}

/// A row of the table that its payment's method keeps.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are the providers' own")]
pub enum RecordRow {
    Paypal(PaypalRow),
    Webpay(WebpayRow),
    Inner(InnerRow),
    Invoice(InvoiceRow),
}

impl RecordRow {
    /// The row of the record of the payment with this key.
    #[must_use]
    pub fn new(payment_key: i64, record: MethodRecord) -> Self {
        match record {
            MethodRecord::Paypal { status, transaction_id } => Self::Paypal(PaypalRow {
                payment_key,
                status: status.to_string(),
                transaction_id: transaction_id.map(|id| id.to_string()),
            }),
            MethodRecord::Webpay { status, transaction_id } => Self::Webpay(WebpayRow {
                payment_key,
                status: status.to_string(),
                transaction_id: transaction_id.map(|id| id.to_string()),
            }),
            MethodRecord::Inner { status, user_id } => Self::Inner(InnerRow {
                payment_key,
                status: status.to_string(),
                user_id: user_id.map(|id| id.to_string()),
            }),
            MethodRecord::Invoice { status, number, receipt } => Self::Invoice(InvoiceRow {
                payment_key,
                status: status.to_string(),
                invoice_number: number.map(|number| number.to_string()),
                receipt: receipt.map(|id| id.to_string()),
            }),
        }
    }
}

/// A payment's row with those of the methods' tables; at most one of them is there.
pub type RecordedRow = (PaymentRow, Option<PaypalRow>, Option<WebpayRow>, Option<InnerRow>, Option<InvoiceRow>);

/// A payment for the order with this id, with its method's record.
///
/// # Errors
/// [`StorageError::Corrupt`], also when the method's record is not there.
pub fn recorded_payment(row: RecordedRow, order_id: OrderId) -> Parsed<RecordedPayment> {
    let (payment, paypal, webpay, inner, invoice) = row;
    let payment = payment.payment(order_id)?;
    let missing = || missing_record([&payment.id]);
    let transaction = |what, value| parse_some(what, value, TransactionId::parse);
    let record = match payment.method {
        PaymentMethod::Paypal => {
            let PaypalRow { payment_key: _, status, transaction_id } = paypal.ok_or_else(missing)?;
            Some(MethodRecord::Paypal {
                status: parse("paypal_payments.status", status, FromStr::from_str)?,
                transaction_id: transaction("paypal_payments.transaction_id", transaction_id)?,
            })
        }
        PaymentMethod::Webpay => {
            let WebpayRow { payment_key: _, status, transaction_id } = webpay.ok_or_else(missing)?;
            Some(MethodRecord::Webpay {
                status: parse("webpay_payments.status", status, FromStr::from_str)?,
                transaction_id: transaction("webpay_payments.transaction_id", transaction_id)?,
            })
        }
        PaymentMethod::Inner => {
            let InnerRow { payment_key: _, status, user_id } = inner.ok_or_else(missing)?;
            Some(MethodRecord::Inner {
                status: parse("inner_payments.status", status, FromStr::from_str)?,
                user_id: parse_private("inner_payments.user_id", user_id, UserId::parse)?,
            })
        }
        PaymentMethod::Invoice => {
            let InvoiceRow { payment_key: _, status, invoice_number, receipt } = invoice.ok_or_else(missing)?;
            Some(MethodRecord::Invoice {
                status: parse("invoice_payments.status", status, FromStr::from_str)?,
                number: parse_some("invoice_payments.invoice_number", invoice_number, InvoiceNumber::parse)?,
                receipt: transaction("invoice_payments.receipt", receipt)?,
            })
        }
        PaymentMethod::Card
        | PaymentMethod::Stripe
        | PaymentMethod::Payu
        | PaymentMethod::Fiobanka
        | PaymentMethod::Comgate => None,
    };
    Ok(RecordedPayment { payment, record })
}

/// That among these payments is one whose method's record is not there.
#[must_use]
pub fn missing_record(payments: impl IntoIterator<Item: ToString>) -> StorageError {
    let ids: Vec<String> = payments.into_iter().map(|id| id.to_string()).collect();
    StorageError::Corrupt { what: "payment without its method's record", value: ids.join(", ") }
}

/// A row of `partial_refunds`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = partial_refunds, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct PartialRefundRow {
    pub payment_id: String,
    pub sent_at: At,
    pub transaction_id: String,
}

impl From<PartialRefund> for PartialRefundRow {
    fn from(refund: PartialRefund) -> Self {
        let PartialRefund { payment_id, sent_at, transaction_id } = refund;
        Self {
            payment_id: payment_id.to_string(),
            sent_at: At(sent_at),
            // Part of the key, so it cannot be NULL; no transaction has an empty id.
            transaction_id: transaction_id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<PartialRefundRow> for PartialRefund {
    type Error = StorageError;

    fn try_from(row: PartialRefundRow) -> Parsed<Self> {
        let PartialRefundRow { payment_id, sent_at, transaction_id } = row;
        let transaction_id = Some(transaction_id).filter(|id| !id.is_empty());
        Ok(Self {
            payment_id: parse("partial_refunds.payment_id", payment_id, PaymentId::parse)?,
            sent_at: sent_at.0,
            transaction_id: parse_some("partial_refunds.transaction_id", transaction_id, TransactionId::parse)?,
        })
    }
}

/// A row of `parked_deliveries`.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = parked_deliveries, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct ParkedRow {
    pub delivery_id: Key,
    pub payment_id: String,
    pub identity: Vec<u8>,
}

impl ParkedRow {
    /// The row of a delivery that has to wait for its payment; `None` for all others.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Option<Self> {
        let ParkedNotification { receipt, notification } = delivery.parked()?;
        Some(Self {
            delivery_id: Key(receipt.delivery_id),
            payment_id: notification.payment_id.to_string(),
            // An index takes the digest, but not every text that may be this long.
            identity: Sha256::digest(notification.identity().to_string()).to_vec(),
        })
    }
}

/// A row of `deliveries`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = deliveries, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct DeliveryRow {
    pub delivery_id: Key,
    pub received_at: At,
    pub source: String,
    pub payment_key: Option<i64>,
    pub payment_id: Option<String>,
    pub order_id: Option<String>,
    pub status: Option<String>,
    pub event: Option<String>,
    pub method: Option<String>,
    pub amount: Option<String>,
    pub currency: Option<String>,
    pub sent_at: Option<At>,
    pub transaction_id: Option<String>,
    pub body_sha256: Option<Vec<u8>>,
    pub key_name: Option<String>,
    pub request_id: Option<String>,
    pub outcome: String,
    pub reason: Option<String>,
    pub previous_status: Option<String>,
    pub new_status: Option<String>,
}

impl DeliveryRow {
    /// The row of a delivery.
    #[must_use]
    pub fn new(delivery: Delivery, keys: &SurrogateKeys) -> Self {
        let Delivery { receipt, content, outcome, previous_status, new_status } = delivery;
        let Receipt { delivery_id, received_at, source, body_sha256, key_name, request_id } = receipt;
        let Payload { payment_id, order_id, status, event, method, amount, currency, sent_at, transaction_id } =
            content.into();
        Self {
            delivery_id: Key(delivery_id),
            received_at: At(received_at),
            source: source.to_string(),
            payment_key: payment_id.as_ref().and_then(|id| keys.payments.get(id).copied()),
            payment_id: payment_id.map(|id| id.to_string()),
            order_id: order_id.map(|id| id.to_string()),
            status: status.map(|status| status.to_string()),
            event: event.map(|event| event.to_string()),
            method: method.map(|method| method.to_string()),
            amount: amount.map(|amount| amount.to_string()),
            currency: currency.map(|currency| currency.to_string()),
            sent_at: sent_at.map(At),
            transaction_id: transaction_id.map(|id| id.to_string()),
            body_sha256: body_sha256.map(Vec::from),
            key_name: key_name.map(|name| name.as_str().to_owned()),
            request_id: request_id.map(|id| id.as_str().to_owned()),
            outcome: outcome.kind().to_string(),
            reason: outcome.reason().map(Into::into),
            previous_status: previous_status.map(|status| status.to_string()),
            new_status: new_status.map(|status| status.to_string()),
        }
    }
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = StorageError;

    fn try_from(row: DeliveryRow) -> Parsed<Self> {
        let DeliveryRow {
            delivery_id,
            received_at,
            source,
            payment_key: _,
            payment_id,
            order_id,
            status,
            event,
            method,
            amount,
            currency,
            sent_at,
            transaction_id,
            body_sha256,
            key_name,
            request_id,
            outcome,
            reason,
            previous_status,
            new_status,
        } = row;
        let kind: OutcomeKind = parse("deliveries.outcome", outcome, FromStr::from_str)?;
        let corrupt_reason =
            || StorageError::Corrupt { what: "deliveries.reason", value: reason.clone().unwrap_or_default() };
        let digest = |bytes: Vec<u8>| {
            let length = bytes.len();
            let corrupt =
                move |_| StorageError::Corrupt { what: "deliveries.body_sha256", value: format!("{length} bytes") };
            bytes.try_into().map_err(corrupt)
        };
        let request = |text: String| {
            let parsed = RequestId::parse(&text);
            parsed.ok_or(StorageError::Corrupt { what: "deliveries.request_id", value: text })
        };
        let outcome = Outcome::from_parts(kind, reason.as_deref()).ok_or_else(corrupt_reason)?;
        let payload = Payload {
            payment_id: parse_some("deliveries.payment_id", payment_id, PaymentId::parse)?,
            order_id: parse_some("deliveries.order_id", order_id, OrderId::parse)?,
            status: parse_some("deliveries.status", status, FromStr::from_str)?,
            event: parse_some("deliveries.event", event, FromStr::from_str)?,
            method: parse_some("deliveries.method", method, MethodName::parse)?,
            amount: parse_some("deliveries.amount", amount, FromStr::from_str)?,
            currency: parse_some("deliveries.currency", currency, Currency::parse)?,
            sent_at: sent_at.map(|at| at.0),
            transaction_id: parse_some("deliveries.transaction_id", transaction_id, TransactionId::parse)?,
        };
        let content = match (&outcome, payload.notification()) {
            (Outcome::Invalid(_), _) => Content::Fragments(payload),
            (_, Some(notification)) => Content::Notification(notification),
            (_, None) => return Err(incomplete(delivery_id)),
        };
        Ok(Self {
            receipt: Receipt {
                delivery_id: delivery_id.0,
                received_at: received_at.0,
                source: parse("deliveries.source", source, FromStr::from_str)?,
                body_sha256: body_sha256.map(digest).transpose()?,
                key_name: key_name.map(KeyName::from_stored),
                request_id: request_id.map(request).transpose()?,
            },
            content,
            outcome,
            previous_status: parse_some("deliveries.previous_status", previous_status, FromStr::from_str)?,
            new_status: parse_some("deliveries.new_status", new_status, FromStr::from_str)?,
        })
    }
}

impl TryFrom<DeliveryRow> for ParkedNotification {
    type Error = StorageError;

    fn try_from(row: DeliveryRow) -> Parsed<Self> {
        let id = row.delivery_id;
        Delivery::try_from(row)?.parked().ok_or_else(|| incomplete(id))
    }
}

/// That a delivery lacks what its outcome implies: all outcomes but `invalid` are of whole notifications, and what
/// waits is `parked`.
fn incomplete(id: Key) -> StorageError {
    StorageError::Corrupt { what: "delivery that does not fit its outcome", value: id.0.to_string() }
}

/// A row of `events` without its number, which the database gives.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
#[expect(missing_docs, reason = "docs/data-model.md describes the columns")]
pub struct EventRow {
    pub kind: String,
    pub order_id: String,
    pub payment_id: String,
    pub paid_at: Option<At>,
    pub created_at: At,
}

impl From<Event> for EventRow {
    fn from(event: Event) -> Self {
        let Event { kind, order_id, payment_id, paid_at, created_at } = event;
        Self {
            kind: kind.to_string(),
            order_id: order_id.to_string(),
            payment_id: payment_id.to_string(),
            paid_at: paid_at.map(At),
            created_at: At(created_at),
        }
    }
}

/// Reads every row.
///
/// # Errors
/// [`StorageError::Corrupt`] for the first that cannot be understood.
pub fn read_all<Row, T: TryFrom<Row, Error = StorageError>>(rows: Vec<Row>) -> Parsed<Vec<T>> {
    rows.into_iter().map(T::try_from).collect()
}
