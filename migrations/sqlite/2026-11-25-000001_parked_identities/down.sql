CREATE INDEX parked_deliveries_payment ON parked_deliveries (payment_id);
DROP INDEX parked_deliveries_identity;
ALTER TABLE parked_deliveries DROP COLUMN identity;
