-- Times are text, `2026-01-01 12:00:00.123456+00:00` in UTC: they sort as they are, and people can read them.

CREATE TABLE orders (
    order_id     TEXT PRIMARY KEY,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency     TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'cancelled', 'refunded')),
    -- Deferred: a payment that completes as it is registered pays an order that is as new as itself.
    paid_by      TEXT REFERENCES external_payments DEFERRABLE INITIALLY DEFERRED,
    paid_at      TEXT,
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    CHECK ((status IN ('paid', 'refunded')) = (paid_by IS NOT NULL)),
    CHECK ((paid_by IS NULL) = (paid_at IS NULL))
) STRICT;

CREATE TABLE external_payments (
    payment_id     TEXT PRIMARY KEY,
    order_id       TEXT NOT NULL REFERENCES orders,
    method         TEXT NOT NULL,
    amount_minor   INTEGER NOT NULL CHECK (amount_minor > 0),
    currency       TEXT NOT NULL,
    status         TEXT NOT NULL
        CHECK (status IN ('pending', 'processing', 'failed', 'cancelled', 'completed', 'refunded')),
    redirect_url   TEXT,
    transaction_id TEXT,
    created_at     TEXT NOT NULL,
    updated_at     TEXT NOT NULL,
    paid_at        TEXT,
    CHECK (status <> 'completed' OR paid_at IS NOT NULL)
) STRICT;

CREATE INDEX external_payments_order ON external_payments (order_id);

CREATE TABLE paypal_payments (
    payment_id     TEXT PRIMARY KEY REFERENCES external_payments,
    status         TEXT NOT NULL,
    transaction_id TEXT
) STRICT;

CREATE TABLE webpay_payments (
    payment_id     TEXT PRIMARY KEY REFERENCES external_payments,
    status         TEXT NOT NULL,
    transaction_id TEXT
) STRICT;

CREATE TABLE inner_payments (
    payment_id TEXT PRIMARY KEY REFERENCES external_payments,
    status     TEXT NOT NULL,
    user_id    TEXT
) STRICT;

CREATE TABLE invoice_payments (
    payment_id     TEXT PRIMARY KEY REFERENCES external_payments,
    status         TEXT NOT NULL,
    invoice_number TEXT,
    receipt        TEXT
) STRICT;

CREATE TABLE partial_refunds (
    payment_id TEXT NOT NULL REFERENCES external_payments,
    sent_at    TEXT NOT NULL,
    PRIMARY KEY (payment_id, sent_at)
) STRICT;

-- The audit trail. It also holds notifications of payments that nobody has registered, and callbacks that
-- could hardly be read, so nothing here refers to another table.
CREATE TABLE deliveries (
    delivery_id     TEXT PRIMARY KEY,
    received_at     TEXT NOT NULL,
    source          TEXT NOT NULL,
    payment_id      TEXT,
    order_id        TEXT,
    status          TEXT,
    event           TEXT,
    method          TEXT,
    amount          TEXT,
    currency        TEXT,
    sent_at         TEXT,
    transaction_id  TEXT,
    body_sha256     BLOB,
    key_name        TEXT,
    request_id      TEXT,
    outcome         TEXT NOT NULL,
    reason          TEXT,
    previous_status TEXT,
    new_status      TEXT
) STRICT;

-- Ids sort by time, so each of these yields the newest first without sorting.
CREATE INDEX deliveries_payment ON deliveries (payment_id, delivery_id);
CREATE INDEX deliveries_order ON deliveries (order_id, delivery_id);
CREATE INDEX deliveries_outcome ON deliveries (outcome, delivery_id);

CREATE TABLE parked_deliveries (
    delivery_id TEXT PRIMARY KEY REFERENCES deliveries,
    payment_id  TEXT NOT NULL
) STRICT;

CREATE INDEX parked_deliveries_payment ON parked_deliveries (payment_id);

-- What the portal must be told, in the order of event_id. What else an event says stands in its payment.
CREATE TABLE events (
    event_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    order_id   TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    paid_at    TEXT,
    created_at TEXT NOT NULL
) STRICT;
