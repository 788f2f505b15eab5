-- The payments that nobody has heard the end of, oldest first: few, however many there have been. A table of their
-- own and no index on external_payments, whose updates would have to write all of its indexes then.
CREATE TABLE open_payments (
    created_at TIMESTAMPTZ NOT NULL,
    payment_id TEXT COLLATE "C" NOT NULL REFERENCES external_payments,
    PRIMARY KEY (created_at, payment_id)
);

INSERT INTO open_payments
SELECT created_at, payment_id FROM external_payments WHERE status IN ('pending', 'processing');

DROP INDEX external_payments_open;

-- Each of these rows is rewritten, and grows by half, as its payment ends; its neighbours may be at the same moment.
-- With room for that on its page, a new version touches no index (HOT).
ALTER TABLE orders SET (fillfactor = 40);
ALTER TABLE external_payments SET (fillfactor = 40);
ALTER TABLE paypal_payments SET (fillfactor = 40);
ALTER TABLE webpay_payments SET (fillfactor = 40);
ALTER TABLE inner_payments SET (fillfactor = 40);
ALTER TABLE invoice_payments SET (fillfactor = 40);

-- An order's deliveries are found by its payments, but for those that were not taken for one of them.
DROP INDEX deliveries_order;
CREATE INDEX deliveries_order ON deliveries (order_id, delivery_id) WHERE outcome IN ('parked', 'rejected', 'invalid');
