-- What the portal expects (orders, external_payments), what was reported about it (deliveries), what must be told to
-- the portal (events), and who does the background work (leases). docs/data-model.md has an overview and queries.
--
-- Ids of payments and orders are opaque text, compared byte by byte (COLLATE "C"). Keys are numbers that the database
-- gives in the order of registration; tables refer to payments and orders by them. Amounts are in minor units: 2900 is
-- 29.00 EUR. Times are in UTC, to the microsecond.
--
-- fillfactor = 40 leaves room on a row's page: the row is rewritten a few times and grows, and an update that finds
-- room there touches no index (HOT). For the same reason no column that changes is indexed.

-- What the customer pays for, once. The price is that of the first registered payment and never changes. paid_by is the
-- payment that paid the order, also after it was refunded.
CREATE TABLE orders (
    order_key    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id     TEXT COLLATE "C" NOT NULL UNIQUE,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    currency     TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'cancelled', 'refunded')),
    paid_by      TEXT COLLATE "C",
    paid_at      TIMESTAMPTZ,
    created_at   TIMESTAMPTZ NOT NULL,
    updated_at   TIMESTAMPTZ NOT NULL,
    CHECK ((status IN ('paid', 'refunded')) = (paid_by IS NOT NULL)),
    CHECK ((paid_by IS NULL) = (paid_at IS NULL))
) WITH (fillfactor = 40);

-- What payments-microservice reports on. The status only moves up, in the order of the list. transaction_id is the
-- provider's transaction that led to the status; a refund does not replace the one that paid. redirect_url is where the
-- portal sends the customer. The method is one of those that docs/contract lists, checked by the code alone.
CREATE TABLE external_payments (
    payment_key    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id     TEXT COLLATE "C" NOT NULL UNIQUE,
    order_key      BIGINT NOT NULL REFERENCES orders,
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
) WITH (fillfactor = 40);

CREATE INDEX external_payments_order ON external_payments (order_key);

-- Deferred: a payment that completes in the transaction of its registration pays an order that is added in the same
-- one.
ALTER TABLE orders ADD CONSTRAINT orders_paid_by
    FOREIGN KEY (paid_by) REFERENCES external_payments (payment_id) DEFERRABLE INITIALLY DEFERRED;

-- What two methods know beyond their payment, from its registration: the user whose balance pays, and the number of the
-- invoice. A row only where there is a value; it never changes.
CREATE TABLE inner_payment_details (
    payment_key BIGINT PRIMARY KEY REFERENCES external_payments,
    user_id     TEXT NOT NULL
);

CREATE TABLE invoice_payment_details (
    payment_key    BIGINT PRIMARY KEY REFERENCES external_payments,
    invoice_number TEXT NOT NULL
);

-- The records of the four methods that have one. Their status and transaction are the payment's.
CREATE VIEW paypal_payments AS
    SELECT payment_key, status, transaction_id FROM external_payments WHERE method = 'paypal';

CREATE VIEW webpay_payments AS
    SELECT payment_key, status, transaction_id FROM external_payments WHERE method = 'webpay';

CREATE VIEW inner_payments AS
    SELECT p.payment_key, p.status, d.user_id
    FROM external_payments p LEFT JOIN inner_payment_details d ON d.payment_key = p.payment_key
    WHERE p.method = 'inner';

CREATE VIEW invoice_payments AS
    SELECT p.payment_key, p.status, d.invoice_number, p.transaction_id AS receipt
    FROM external_payments p LEFT JOIN invoice_payment_details d ON d.payment_key = p.payment_key
    WHERE p.method = 'invoice';

-- The payments that are pending or processing, oldest first. Not a partial index on external_payments: an update of an
-- indexed status would write every index of the table.
CREATE TABLE open_payments (
    created_at  TIMESTAMPTZ NOT NULL,
    payment_key BIGINT NOT NULL REFERENCES external_payments,
    PRIMARY KEY (created_at, payment_key)
);

-- The partial refunds that have been settled, to recognise a repeated one. sent_at is the sender's time. Two of one
-- moment are told apart by their transactions; '' where the sender names none.
CREATE TABLE partial_refunds (
    payment_id     TEXT COLLATE "C" NOT NULL REFERENCES external_payments (payment_id),
    sent_at        TIMESTAMPTZ NOT NULL,
    transaction_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (payment_id, sent_at, transaction_id)
);

-- The audit trail: one row for each notification, replay and callback that could not be understood. Rows never change.
-- Nothing here refers to another table, for the payment may not be registered. delivery_id is a UUID version 7, so rows
-- sort in the order of the decisions.
--   source           callback, parked (it had waited for its payment) or replay (by an operator)
--   payment_key      NULL where the payment was not registered, or was not looked for
--   payment_id … transaction_id  as the sender said it, as far as it could be read; amount is the sender's decimal text
--   body_sha256      of the body as it was sent, which is not kept
--   key_name         the key that authenticated it: `k-` and eight hex digits of its SHA-256
--   request_id       the request that brought it, as in the log
--   reason           why, where the outcome is unapplied, rejected or invalid
--   previous_status, new_status  the payment's, NULL where it was not registered
CREATE TABLE deliveries (
    delivery_id     UUID PRIMARY KEY,
    received_at     TIMESTAMPTZ NOT NULL,
    source          TEXT NOT NULL,
    payment_key     BIGINT,
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

-- Each of these yields the newest first without sorting.
CREATE INDEX deliveries_payment ON deliveries (payment_key, delivery_id);
CREATE INDEX deliveries_unregistered ON deliveries (payment_id, delivery_id) WHERE payment_key IS NULL;
CREATE INDEX deliveries_outcome ON deliveries (outcome, delivery_id);
-- An order's deliveries are found by its payments, except those that were not applied to one of them.
CREATE INDEX deliveries_order ON deliveries (order_id, delivery_id) WHERE outcome IN ('parked', 'rejected', 'invalid');

-- The deliveries that wait for their payment to be registered. identity is the SHA-256 of what tells the notifications
-- of a payment apart: the same one waits once.
CREATE TABLE parked_deliveries (
    delivery_id UUID PRIMARY KEY REFERENCES deliveries,
    payment_id  TEXT COLLATE "C" NOT NULL,
    identity    BYTEA
);

CREATE UNIQUE INDEX parked_deliveries_identity ON parked_deliveries (payment_id, identity);

-- What the portal must be told, in the order of event_id. Gaps in the numbers mean nothing. paid_at is when the money
-- had come in, NULL if it had not.
CREATE TABLE events (
    event_id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       TEXT NOT NULL,
    order_id   TEXT COLLATE "C" NOT NULL,
    payment_id TEXT COLLATE "C" NOT NULL,
    paid_at    TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL
);

-- Which replica does the background work of this name, until when by the clock of the database. A lease past its end is
-- free.
CREATE TABLE leases (
    name       TEXT COLLATE "C" PRIMARY KEY,
    holder     UUID NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);
