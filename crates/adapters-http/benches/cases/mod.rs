//! What a callback costs the processor, step by step, without server and database.

use std::hint::black_box;

use adapters_http::{ApiKeys, read_notification};
use conformance::fixtures::{at, completion, provenance, registration};
use domain::{Books, ExternalPayment, Notification, Order};

/// As payments-microservice sends it.
const BODY: &[u8] = br#"{"paymentId":"5a1c8a0e-3f0b-4f8e-9d6b-0c7f3c5f2b11","orderId":"marathon:22855c43-0000-4000-8000-000000000001:1767322800123","status":"completed","paymentMethod":"webpay","event":"completed","timestamp":"2026-01-01T12:00:00.123Z","metadata":{"providerTransactionId":"webpay-order-number","additionalInfo":{}}}"#;

/// Callbacks in a full batch.
const BATCH: usize = 64;

/// A step, ready to be taken again and again.
pub(crate) type Step = Box<dyn FnMut()>;

/// A step by its name, and what makes it ready.
pub(crate) type Case = (&'static str, fn() -> Step);

/// All of them.
pub(crate) const CASES: [Case; 3] =
    [("read_notification", parsed), ("authenticate_key", authenticating), ("settle_batch_of_64", settling)];

fn parsed() -> Step {
    Box::new(|| {
        black_box(read_notification(black_box(BODY)).expect("a notification"));
    })
}

fn authenticating() -> Step {
    let keys = "the-key-that-was-rotated-out,a-key-of-thirty-two-characters--".into();
    let keys = ApiKeys::parse("payment", &keys).expect("keys");
    Box::new(move || {
        black_box(keys.name_of(black_box(b"a-key-of-thirty-two-characters--")).expect("a known key"));
    })
}

/// Books of a full batch, from their opening to their closing.
fn settling() -> Step {
    let ids: Vec<_> = (0..BATCH).map(|number| (format!("payment-{number}"), format!("order-{number}"))).collect();
    let registrations: Vec<_> = ids.iter().map(|(payment, order)| registration(payment, order)).collect();
    let payments: Vec<ExternalPayment> = registrations.iter().map(|each| each.payment(at(0))).collect();
    let orders: Vec<_> =
        registrations.iter().map(|each| Order::open(each.order_id.clone(), each.price, at(0))).collect();
    let notifications: Vec<Notification> = ids.iter().map(|(payment, order)| completion(payment, order)).collect();
    let provenance = provenance(at(1));
    Box::new(move || {
        let mut books = Books::open(payments.clone(), orders.clone(), Vec::new(), Vec::new());
        for notification in &notifications {
            black_box(books.settle(notification, provenance.clone()));
        }
        black_box(books.close());
    })
}
