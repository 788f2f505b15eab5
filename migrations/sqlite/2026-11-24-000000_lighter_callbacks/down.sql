CREATE INDEX external_payments_open ON external_payments (created_at) WHERE status IN ('pending', 'processing');
DROP TABLE open_payments;
DROP INDEX deliveries_order;
CREATE INDEX deliveries_order ON deliveries (order_id, delivery_id);
