-- Ids arrive in no order, so an index on them is read and written all over. These keys grow as payments are registered:
-- what refers to a payment by its key lies beside what refers to its neighbours in time. Ids are looked up once.
-- Rows are written while they are in no index and no constraint looks at them, which takes a fraction of the time.

ALTER TABLE orders DROP CONSTRAINT orders_paid_by;
ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE;
ALTER TABLE orders
    ADD COLUMN order_key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ALTER COLUMN order_id SET NOT NULL,
    ADD UNIQUE (order_id);

DROP INDEX external_payments_order;
ALTER TABLE external_payments DROP CONSTRAINT external_payments_pkey CASCADE;
ALTER TABLE external_payments
    ADD COLUMN payment_key BIGINT GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN order_key BIGINT;
UPDATE external_payments p SET order_key = o.order_key FROM orders o WHERE o.order_id = p.order_id;
ALTER TABLE external_payments
    DROP COLUMN order_id,
    ADD PRIMARY KEY (payment_key),
    ALTER COLUMN payment_id SET NOT NULL,
    ADD UNIQUE (payment_id),
    ALTER COLUMN order_key SET NOT NULL,
    ADD FOREIGN KEY (order_key) REFERENCES orders;
CREATE INDEX external_payments_order ON external_payments (order_key);

-- Deferred: a payment that completes as it is registered pays an order that is as new as itself.
ALTER TABLE orders ADD CONSTRAINT orders_paid_by
    FOREIGN KEY (paid_by) REFERENCES external_payments (payment_id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE partial_refunds ADD FOREIGN KEY (payment_id) REFERENCES external_payments (payment_id);

ALTER TABLE paypal_payments DROP CONSTRAINT paypal_payments_pkey, ADD COLUMN payment_key BIGINT;
UPDATE paypal_payments r SET payment_key = p.payment_key FROM external_payments p WHERE p.payment_id = r.payment_id;
ALTER TABLE paypal_payments
    DROP COLUMN payment_id,
    ADD PRIMARY KEY (payment_key),
    ADD FOREIGN KEY (payment_key) REFERENCES external_payments;

ALTER TABLE webpay_payments DROP CONSTRAINT webpay_payments_pkey, ADD COLUMN payment_key BIGINT;
UPDATE webpay_payments r SET payment_key = p.payment_key FROM external_payments p WHERE p.payment_id = r.payment_id;
ALTER TABLE webpay_payments
    DROP COLUMN payment_id,
    ADD PRIMARY KEY (payment_key),
    ADD FOREIGN KEY (payment_key) REFERENCES external_payments;

ALTER TABLE inner_payments DROP CONSTRAINT inner_payments_pkey, ADD COLUMN payment_key BIGINT;
UPDATE inner_payments r SET payment_key = p.payment_key FROM external_payments p WHERE p.payment_id = r.payment_id;
ALTER TABLE inner_payments
    DROP COLUMN payment_id,
    ADD PRIMARY KEY (payment_key),
    ADD FOREIGN KEY (payment_key) REFERENCES external_payments;

ALTER TABLE invoice_payments DROP CONSTRAINT invoice_payments_pkey, ADD COLUMN payment_key BIGINT;
UPDATE invoice_payments r SET payment_key = p.payment_key FROM external_payments p WHERE p.payment_id = r.payment_id;
ALTER TABLE invoice_payments
    DROP COLUMN payment_id,
    ADD PRIMARY KEY (payment_key),
    ADD FOREIGN KEY (payment_key) REFERENCES external_payments;

-- The payments that nobody has heard the end of, oldest first: few, however many there have been. A table of their
-- own and no index on external_payments, whose updates would have to write all of its indexes then.
DROP TABLE open_payments;
CREATE TABLE open_payments (
    created_at  TIMESTAMPTZ NOT NULL,
    payment_key BIGINT NOT NULL
);
INSERT INTO open_payments
SELECT created_at, payment_key FROM external_payments WHERE status IN ('pending', 'processing');
ALTER TABLE open_payments
    ADD PRIMARY KEY (created_at, payment_key),
    ADD FOREIGN KEY (payment_key) REFERENCES external_payments;

-- The payment as it was found; none where it was not looked for or not registered. It refers to nothing all the same.
DROP INDEX deliveries_payment, deliveries_order, deliveries_outcome;
ALTER TABLE deliveries ADD COLUMN payment_key BIGINT;
UPDATE deliveries d SET payment_key = p.payment_key FROM external_payments p WHERE p.payment_id = d.payment_id;
CREATE INDEX deliveries_payment ON deliveries (payment_key, delivery_id);
CREATE INDEX deliveries_unregistered ON deliveries (payment_id, delivery_id) WHERE payment_key IS NULL;
CREATE INDEX deliveries_order ON deliveries (order_id, delivery_id) WHERE outcome IN ('parked', 'rejected', 'invalid');
CREATE INDEX deliveries_outcome ON deliveries (outcome, delivery_id);
