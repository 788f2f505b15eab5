DROP INDEX deliveries_unregistered;
DROP INDEX deliveries_payment;
ALTER TABLE deliveries DROP COLUMN payment_key;
CREATE INDEX deliveries_payment ON deliveries (payment_id, delivery_id);

DROP TABLE open_payments;

ALTER TABLE paypal_payments ADD COLUMN payment_id TEXT COLLATE "C";
UPDATE paypal_payments r SET payment_id = p.payment_id FROM external_payments p WHERE p.payment_key = r.payment_key;
ALTER TABLE paypal_payments DROP COLUMN payment_key, ADD PRIMARY KEY (payment_id);

ALTER TABLE webpay_payments ADD COLUMN payment_id TEXT COLLATE "C";
UPDATE webpay_payments r SET payment_id = p.payment_id FROM external_payments p WHERE p.payment_key = r.payment_key;
ALTER TABLE webpay_payments DROP COLUMN payment_key, ADD PRIMARY KEY (payment_id);

ALTER TABLE inner_payments ADD COLUMN payment_id TEXT COLLATE "C";
UPDATE inner_payments r SET payment_id = p.payment_id FROM external_payments p WHERE p.payment_key = r.payment_key;
ALTER TABLE inner_payments DROP COLUMN payment_key, ADD PRIMARY KEY (payment_id);

ALTER TABLE invoice_payments ADD COLUMN payment_id TEXT COLLATE "C";
UPDATE invoice_payments r SET payment_id = p.payment_id FROM external_payments p WHERE p.payment_key = r.payment_key;
ALTER TABLE invoice_payments DROP COLUMN payment_key, ADD PRIMARY KEY (payment_id);

ALTER TABLE external_payments DROP CONSTRAINT external_payments_payment_id_key CASCADE;
ALTER TABLE external_payments ADD COLUMN order_id TEXT COLLATE "C";
UPDATE external_payments p SET order_id = o.order_id FROM orders o WHERE o.order_key = p.order_key;
ALTER TABLE external_payments
    ALTER COLUMN order_id SET NOT NULL,
    DROP COLUMN order_key,
    DROP COLUMN payment_key,
    ADD PRIMARY KEY (payment_id);

ALTER TABLE orders DROP CONSTRAINT orders_order_id_key;
ALTER TABLE orders DROP COLUMN order_key, ADD PRIMARY KEY (order_id);

CREATE INDEX external_payments_order ON external_payments (order_id);
ALTER TABLE external_payments ADD FOREIGN KEY (order_id) REFERENCES orders;
ALTER TABLE orders ADD CONSTRAINT orders_paid_by
    FOREIGN KEY (paid_by) REFERENCES external_payments DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE partial_refunds ADD FOREIGN KEY (payment_id) REFERENCES external_payments;
ALTER TABLE paypal_payments ADD FOREIGN KEY (payment_id) REFERENCES external_payments;
ALTER TABLE webpay_payments ADD FOREIGN KEY (payment_id) REFERENCES external_payments;
ALTER TABLE inner_payments ADD FOREIGN KEY (payment_id) REFERENCES external_payments;
ALTER TABLE invoice_payments ADD FOREIGN KEY (payment_id) REFERENCES external_payments;

CREATE TABLE open_payments (
    created_at TIMESTAMPTZ NOT NULL,
    payment_id TEXT COLLATE "C" NOT NULL REFERENCES external_payments,
    PRIMARY KEY (created_at, payment_id)
);
INSERT INTO open_payments
SELECT created_at, payment_id FROM external_payments WHERE status IN ('pending', 'processing');
