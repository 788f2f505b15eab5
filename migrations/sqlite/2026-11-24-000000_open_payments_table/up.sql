-- The payments that nobody has heard the end of, oldest first: few, however many there have been.
CREATE TABLE open_payments (
    created_at TEXT NOT NULL,
    payment_id TEXT NOT NULL REFERENCES external_payments,
    PRIMARY KEY (created_at, payment_id)
) STRICT, WITHOUT ROWID;

INSERT INTO open_payments
SELECT created_at, payment_id FROM external_payments WHERE status IN ('pending', 'processing');

DROP INDEX external_payments_open;
