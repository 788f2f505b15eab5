-- The payments that nobody has heard the end of, oldest first: few, however many there have been.
CREATE TABLE open_payments (
    created_at TEXT NOT NULL,
    payment_id TEXT NOT NULL REFERENCES external_payments,
    PRIMARY KEY (created_at, payment_id)
) STRICT, WITHOUT ROWID;

INSERT INTO open_payments
SELECT created_at, payment_id FROM external_payments WHERE status IN ('pending', 'processing');

DROP INDEX external_payments_open;

-- An order's deliveries are found by its payments, but for those that were not taken for one of them.
DROP INDEX deliveries_order;
CREATE INDEX deliveries_order ON deliveries (order_id, delivery_id) WHERE outcome IN ('parked', 'rejected', 'invalid');
