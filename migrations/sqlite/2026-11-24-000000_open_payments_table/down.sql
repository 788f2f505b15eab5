CREATE INDEX external_payments_open ON external_payments (created_at) WHERE status IN ('pending', 'processing');
DROP TABLE open_payments;
