-- The payments that nobody has heard the end of, oldest first: few, however many there have been.
CREATE INDEX external_payments_open ON external_payments (created_at) WHERE status IN ('pending', 'processing');
