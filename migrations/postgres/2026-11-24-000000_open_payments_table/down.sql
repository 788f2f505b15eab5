ALTER TABLE orders SET (fillfactor = 90);
ALTER TABLE external_payments SET (fillfactor = 90);
ALTER TABLE paypal_payments SET (fillfactor = 90);
ALTER TABLE webpay_payments SET (fillfactor = 90);
ALTER TABLE inner_payments SET (fillfactor = 90);
ALTER TABLE invoice_payments SET (fillfactor = 90);
CREATE INDEX external_payments_open ON external_payments (created_at) WHERE status IN ('pending', 'processing');
DROP TABLE open_payments;
