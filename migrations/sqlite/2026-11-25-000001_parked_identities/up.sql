-- The same notification waits once for its payment, however often it comes. Rows of earlier versions have no identity
-- and wait all the same. The new index also finds what waits for a payment.
ALTER TABLE parked_deliveries ADD COLUMN identity BLOB;
CREATE UNIQUE INDEX parked_deliveries_identity ON parked_deliveries (payment_id, identity);
DROP INDEX parked_deliveries_payment;
