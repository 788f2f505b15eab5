-- Ids arrive in no order, so an index on them is read and written all over. These keys grow as payments are registered:
-- what refers to a payment by its key lies beside what refers to its neighbours in time. Ids are looked up once.
-- Columns get another type, and none is updated: the tables are written anew, without dead rows, for which PostgreSQL
-- would leave a new index aside as long as any older transaction is open.

ALTER TABLE orders DROP CONSTRAINT orders_paid_by;
ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE;
ALTER TABLE orders
    ADD COLUMN order_key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ALTER COLUMN order_id SET NOT NULL,
    ADD UNIQUE (order_id);

CREATE FUNCTION key_of_order(TEXT) RETURNS BIGINT LANGUAGE SQL STABLE
AS 'SELECT order_key FROM orders WHERE order_id = $1';

ALTER TABLE external_payments DROP CONSTRAINT external_payments_pkey CASCADE;
ALTER TABLE external_payments ALTER COLUMN order_id TYPE BIGINT USING key_of_order(order_id);
ALTER TABLE external_payments RENAME COLUMN order_id TO order_key;
ALTER TABLE external_payments
    ADD COLUMN payment_key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ALTER COLUMN payment_id SET NOT NULL,
    ADD UNIQUE (payment_id),
    ADD FOREIGN KEY (order_key) REFERENCES orders;

-- Deferred: a payment that completes as it is registered pays an order that is as new as itself.
ALTER TABLE orders ADD CONSTRAINT orders_paid_by
    FOREIGN KEY (paid_by) REFERENCES external_payments (payment_id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE partial_refunds ADD FOREIGN KEY (payment_id) REFERENCES external_payments (payment_id);

CREATE FUNCTION key_of_payment(TEXT) RETURNS BIGINT LANGUAGE SQL STABLE
AS 'SELECT payment_key FROM external_payments WHERE payment_id = $1';

ALTER TABLE paypal_payments ALTER COLUMN payment_id TYPE BIGINT USING key_of_payment(payment_id);
ALTER TABLE paypal_payments RENAME COLUMN payment_id TO payment_key;
ALTER TABLE paypal_payments ADD FOREIGN KEY (payment_key) REFERENCES external_payments;

ALTER TABLE webpay_payments ALTER COLUMN payment_id TYPE BIGINT USING key_of_payment(payment_id);
ALTER TABLE webpay_payments RENAME COLUMN payment_id TO payment_key;
ALTER TABLE webpay_payments ADD FOREIGN KEY (payment_key) REFERENCES external_payments;

ALTER TABLE inner_payments ALTER COLUMN payment_id TYPE BIGINT USING key_of_payment(payment_id);
ALTER TABLE inner_payments RENAME COLUMN payment_id TO payment_key;
ALTER TABLE inner_payments ADD FOREIGN KEY (payment_key) REFERENCES external_payments;

ALTER TABLE invoice_payments ALTER COLUMN payment_id TYPE BIGINT USING key_of_payment(payment_id);
ALTER TABLE invoice_payments RENAME COLUMN payment_id TO payment_key;
ALTER TABLE invoice_payments ADD FOREIGN KEY (payment_key) REFERENCES external_payments;

ALTER TABLE open_payments ALTER COLUMN payment_id TYPE BIGINT USING key_of_payment(payment_id);
ALTER TABLE open_payments RENAME COLUMN payment_id TO payment_key;
ALTER TABLE open_payments ADD FOREIGN KEY (payment_key) REFERENCES external_payments;

-- The payment as it was found; none where it was not looked for or not registered. It refers to nothing all the same.
DROP INDEX deliveries_payment;
ALTER TABLE deliveries ADD COLUMN payment_key BIGINT;
ALTER TABLE deliveries ALTER COLUMN payment_key TYPE BIGINT USING key_of_payment(payment_id);
CREATE INDEX deliveries_payment ON deliveries (payment_key, delivery_id);
CREATE INDEX deliveries_unregistered ON deliveries (payment_id, delivery_id) WHERE payment_key IS NULL;

DROP FUNCTION key_of_order;
DROP FUNCTION key_of_payment;
