DROP INDEX deliveries_unregistered;
DROP INDEX deliveries_payment;
ALTER TABLE deliveries DROP COLUMN payment_key;
CREATE INDEX deliveries_payment ON deliveries (payment_id, delivery_id);

CREATE FUNCTION id_of_payment(BIGINT) RETURNS TEXT LANGUAGE SQL STABLE
AS 'SELECT payment_id FROM external_payments WHERE payment_key = $1';

ALTER TABLE paypal_payments DROP CONSTRAINT paypal_payments_payment_key_fkey;
ALTER TABLE paypal_payments ALTER COLUMN payment_key TYPE TEXT COLLATE "C" USING id_of_payment(payment_key);
ALTER TABLE paypal_payments RENAME COLUMN payment_key TO payment_id;

ALTER TABLE webpay_payments DROP CONSTRAINT webpay_payments_payment_key_fkey;
ALTER TABLE webpay_payments ALTER COLUMN payment_key TYPE TEXT COLLATE "C" USING id_of_payment(payment_key);
ALTER TABLE webpay_payments RENAME COLUMN payment_key TO payment_id;

ALTER TABLE inner_payments DROP CONSTRAINT inner_payments_payment_key_fkey;
ALTER TABLE inner_payments ALTER COLUMN payment_key TYPE TEXT COLLATE "C" USING id_of_payment(payment_key);
ALTER TABLE inner_payments RENAME COLUMN payment_key TO payment_id;

ALTER TABLE invoice_payments DROP CONSTRAINT invoice_payments_payment_key_fkey;
ALTER TABLE invoice_payments ALTER COLUMN payment_key TYPE TEXT COLLATE "C" USING id_of_payment(payment_key);
ALTER TABLE invoice_payments RENAME COLUMN payment_key TO payment_id;

ALTER TABLE open_payments DROP CONSTRAINT open_payments_payment_key_fkey;
ALTER TABLE open_payments ALTER COLUMN payment_key TYPE TEXT COLLATE "C" USING id_of_payment(payment_key);
ALTER TABLE open_payments RENAME COLUMN payment_key TO payment_id;

DROP FUNCTION id_of_payment;
CREATE FUNCTION id_of_order(BIGINT) RETURNS TEXT LANGUAGE SQL STABLE
AS 'SELECT order_id FROM orders WHERE order_key = $1';

ALTER TABLE external_payments DROP CONSTRAINT external_payments_order_key_fkey;
ALTER TABLE external_payments ALTER COLUMN order_key TYPE TEXT COLLATE "C" USING id_of_order(order_key);
ALTER TABLE external_payments RENAME COLUMN order_key TO order_id;

DROP FUNCTION id_of_order;

ALTER TABLE external_payments DROP CONSTRAINT external_payments_payment_id_key CASCADE;
ALTER TABLE external_payments DROP COLUMN payment_key, ADD PRIMARY KEY (payment_id);
ALTER TABLE orders DROP CONSTRAINT orders_order_id_key;
ALTER TABLE orders DROP COLUMN order_key, ADD PRIMARY KEY (order_id);

ALTER TABLE external_payments ADD FOREIGN KEY (order_id) REFERENCES orders;
ALTER TABLE orders ADD CONSTRAINT orders_paid_by
    FOREIGN KEY (paid_by) REFERENCES external_payments DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE partial_refunds ADD FOREIGN KEY (payment_id) REFERENCES external_payments;
ALTER TABLE paypal_payments ADD FOREIGN KEY (payment_id) REFERENCES external_payments;
ALTER TABLE webpay_payments ADD FOREIGN KEY (payment_id) REFERENCES external_payments;
ALTER TABLE inner_payments ADD FOREIGN KEY (payment_id) REFERENCES external_payments;
ALTER TABLE invoice_payments ADD FOREIGN KEY (payment_id) REFERENCES external_payments;
ALTER TABLE open_payments ADD FOREIGN KEY (payment_id) REFERENCES external_payments;
