DELETE FROM partial_refunds r USING partial_refunds other
WHERE other.payment_id = r.payment_id AND other.sent_at = r.sent_at AND other.transaction_id < r.transaction_id;
ALTER TABLE partial_refunds DROP CONSTRAINT partial_refunds_pkey, DROP COLUMN transaction_id,
    ADD PRIMARY KEY (payment_id, sent_at);
