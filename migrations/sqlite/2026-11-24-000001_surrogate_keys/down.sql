DROP INDEX deliveries_unregistered;
DROP INDEX deliveries_payment;
ALTER TABLE deliveries DROP COLUMN payment_key;
CREATE INDEX deliveries_payment ON deliveries (payment_id, delivery_id);

CREATE TABLE new_orders (
    order_id     TEXT PRIMARY KEY,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency     TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'cancelled', 'refunded')),
    -- Deferred: a payment that completes as it is registered pays an order that is as new as itself.
    paid_by      TEXT REFERENCES new_external_payments DEFERRABLE INITIALLY DEFERRED,
    paid_at      TEXT,
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    CHECK ((status IN ('paid', 'refunded')) = (paid_by IS NOT NULL)),
    CHECK ((paid_by IS NULL) = (paid_at IS NULL))
) STRICT;

CREATE TABLE new_external_payments (
    payment_id     TEXT PRIMARY KEY,
    order_id       TEXT NOT NULL REFERENCES new_orders,
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

CREATE TABLE new_paypal_payments (
    payment_id     TEXT PRIMARY KEY REFERENCES new_external_payments,
    status         TEXT NOT NULL,
    transaction_id TEXT
) STRICT;

CREATE TABLE new_webpay_payments (
    payment_id     TEXT PRIMARY KEY REFERENCES new_external_payments,
    status         TEXT NOT NULL,
    transaction_id TEXT
) STRICT;

CREATE TABLE new_inner_payments (
    payment_id TEXT PRIMARY KEY REFERENCES new_external_payments,
    status     TEXT NOT NULL,
    user_id    TEXT
) STRICT;

CREATE TABLE new_invoice_payments (
    payment_id     TEXT PRIMARY KEY REFERENCES new_external_payments,
    status         TEXT NOT NULL,
    invoice_number TEXT,
    receipt        TEXT
) STRICT;

CREATE TABLE new_partial_refunds (
    payment_id TEXT NOT NULL REFERENCES new_external_payments,
    sent_at    TEXT NOT NULL,
    PRIMARY KEY (payment_id, sent_at)
) STRICT;

CREATE TABLE new_open_payments (
    created_at TEXT NOT NULL,
    payment_id TEXT NOT NULL REFERENCES new_external_payments,
    PRIMARY KEY (created_at, payment_id)
) STRICT, WITHOUT ROWID;

INSERT INTO new_orders (rowid, order_id, amount_minor, currency, status, paid_by, paid_at, created_at, updated_at)
SELECT order_key, order_id, amount_minor, currency, status, paid_by, paid_at, created_at, updated_at FROM orders;
INSERT INTO new_external_payments (rowid, payment_id, order_id, method, amount_minor, currency, status, redirect_url,
    transaction_id, created_at, updated_at, paid_at)
SELECT p.payment_key, p.payment_id, o.order_id, p.method, p.amount_minor, p.currency, p.status, p.redirect_url,
    p.transaction_id, p.created_at, p.updated_at, p.paid_at
FROM external_payments p JOIN orders o ON o.order_key = p.order_key ORDER BY p.payment_key;
INSERT INTO new_paypal_payments
SELECT p.payment_id, r.status, r.transaction_id
FROM paypal_payments r JOIN external_payments p ON p.payment_key = r.payment_key ORDER BY r.payment_key;
INSERT INTO new_webpay_payments
SELECT p.payment_id, r.status, r.transaction_id
FROM webpay_payments r JOIN external_payments p ON p.payment_key = r.payment_key ORDER BY r.payment_key;
INSERT INTO new_inner_payments
SELECT p.payment_id, r.status, r.user_id
FROM inner_payments r JOIN external_payments p ON p.payment_key = r.payment_key ORDER BY r.payment_key;
INSERT INTO new_invoice_payments
SELECT p.payment_id, r.status, r.invoice_number, r.receipt
FROM invoice_payments r JOIN external_payments p ON p.payment_key = r.payment_key ORDER BY r.payment_key;
INSERT INTO new_partial_refunds SELECT payment_id, sent_at FROM partial_refunds;
INSERT INTO new_open_payments
SELECT created_at, payment_id FROM new_external_payments WHERE status IN ('pending', 'processing');

DROP TABLE open_payments;
DROP TABLE partial_refunds;
DROP TABLE paypal_payments;
DROP TABLE webpay_payments;
DROP TABLE inner_payments;
DROP TABLE invoice_payments;
DROP TABLE external_payments;
DROP TABLE orders;

ALTER TABLE new_orders RENAME TO orders;
ALTER TABLE new_external_payments RENAME TO external_payments;
ALTER TABLE new_paypal_payments RENAME TO paypal_payments;
ALTER TABLE new_webpay_payments RENAME TO webpay_payments;
ALTER TABLE new_inner_payments RENAME TO inner_payments;
ALTER TABLE new_invoice_payments RENAME TO invoice_payments;
ALTER TABLE new_partial_refunds RENAME TO partial_refunds;
ALTER TABLE new_open_payments RENAME TO open_payments;

CREATE INDEX external_payments_order ON external_payments (order_id);
