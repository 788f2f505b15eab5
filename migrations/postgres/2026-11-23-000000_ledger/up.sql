-- Ids are opaque and compared byte by byte: COLLATE "C" is what they mean, and the fastest there is.

CREATE TABLE orders (
    order_id     TEXT COLLATE "C" PRIMARY KEY,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    currency     TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'cancelled', 'refunded')),
    paid_by      TEXT COLLATE "C",
    paid_at      TIMESTAMPTZ,
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL,
    CHECK ((status IN ('paid', 'refunded')) = (paid_by IS NOT NULL)),
    CHECK ((paid_by IS NULL) = (paid_at IS NULL))
) WITH (fillfactor = 90);

CREATE TABLE external_payments (
    payment_id     TEXT COLLATE "C" PRIMARY KEY,
    order_id       TEXT COLLATE "C" NOT NULL REFERENCES orders,
    method         TEXT NOT NULL,
    amount_minor   BIGINT NOT NULL CHECK (amount_minor > 0),
    currency       TEXT NOT NULL,
    status         TEXT NOT NULL
        CHECK (status IN ('pending', 'processing', 'failed', 'cancelled', 'completed', 'refunded')),
    redirect_url   TEXT,
    transaction_id TEXT,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL,
    paid_at        TIMESTAMPTZ,
    CHECK (status <> 'completed' OR paid_at IS NOT NULL)
) WITH (fillfactor = 90);

CREATE INDEX external_payments_order ON external_payments (order_id);

-- Deferred: a payment that completes as it is registered pays an order that is as new as itself.
ALTER TABLE orders ADD CONSTRAINT orders_paid_by
    FOREIGN KEY (paid_by) REFERENCES external_payments DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE paypal_payments (
    payment_id     TEXT COLLATE "C" PRIMARY KEY REFERENCES external_payments,
    status         TEXT NOT NULL,
    transaction_id TEXT
) WITH (fillfactor = 90);

CREATE TABLE webpay_payments (
    payment_id     TEXT COLLATE "C" PRIMARY KEY REFERENCES external_payments,
    status         TEXT NOT NULL,
    transaction_id TEXT
) WITH (fillfactor = 90);

CREATE TABLE inner_payments (
    payment_id TEXT COLLATE "C" PRIMARY KEY REFERENCES external_payments,
    status     TEXT NOT NULL,
    user_id    TEXT
) WITH (fillfactor = 90);

CREATE TABLE invoice_payments (
    payment_id     TEXT COLLATE "C" PRIMARY KEY REFERENCES external_payments,
    status         TEXT NOT NULL,
    invoice_number TEXT,
    receipt        TEXT
) WITH (fillfactor = 90);

CREATE TABLE partial_refunds (
    payment_id TEXT COLLATE "C" NOT NULL REFERENCES external_payments,
    sent_at    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (payment_id, sent_at)
);

-- The audit trail. It also holds notifications of payments that nobody has registered, and callbacks that
-- could hardly be read, so nothing here refers to another table.
CREATE TABLE deliveries (
    delivery_id     UUID PRIMARY KEY,
    received_at     TIMESTAMPTZ NOT NULL,
    source          TEXT NOT NULL,
    payment_id      TEXT COLLATE "C",
    order_id        TEXT COLLATE "C",
    status          TEXT,
    event           TEXT,
    method          TEXT,
    amount          TEXT,
    currency        TEXT,
    sent_at         TIMESTAMPTZ,
    transaction_id  TEXT,
    body_sha256     BYTEA,
    key_name        TEXT,
    request_id      TEXT,
    outcome         TEXT NOT NULL,
    reason          TEXT,
    previous_status TEXT,
    new_status      TEXT
);

-- Ids sort by time, so each of these yields the newest first without sorting.
CREATE INDEX deliveries_payment ON deliveries (payment_id, delivery_id);
CREATE INDEX deliveries_order ON deliveries (order_id, delivery_id);
CREATE INDEX deliveries_outcome ON deliveries (outcome, delivery_id);

CREATE TABLE parked_deliveries (
    delivery_id UUID PRIMARY KEY REFERENCES deliveries,
    payment_id  TEXT COLLATE "C" NOT NULL
);

CREATE INDEX parked_deliveries_payment ON parked_deliveries (payment_id);

-- What the portal must be told, in the order of event_id. What else an event says stands in its payment.
CREATE TABLE events (
    event_id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       TEXT NOT NULL,
    order_id   TEXT COLLATE "C" NOT NULL,
    payment_id TEXT COLLATE "C" NOT NULL,
    paid_at    TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL
);
