-- Of one payment, two partial refunds may have been sent at the same moment: their transactions tell them apart. Empty
-- where the sender names none. The default is for the previous version of the program, which knows no such column.
ALTER TABLE partial_refunds ADD COLUMN transaction_id TEXT COLLATE "C" NOT NULL DEFAULT '';

-- What the sender named is in the audit trail.
CREATE FUNCTION transaction_of_refund(TEXT, TIMESTAMPTZ) RETURNS TEXT LANGUAGE SQL STABLE
AS $$
    SELECT max(d.transaction_id) FROM external_payments p JOIN deliveries d ON d.payment_key = p.payment_key
    WHERE p.payment_id = $1 AND d.sent_at = $2 AND d.status = 'completed' AND d.event = 'refunded'
    AND d.outcome IN ('partially_refunded', 'unapplied')
$$;

-- The type stays. The column is not updated, for that would leave dead rows (see the previous migration).
ALTER TABLE partial_refunds
    DROP CONSTRAINT partial_refunds_pkey,
    ALTER COLUMN transaction_id TYPE TEXT COLLATE "C" USING coalesce(transaction_of_refund(payment_id, sent_at), '');
ALTER TABLE partial_refunds ADD PRIMARY KEY (payment_id, sent_at, transaction_id);

DROP FUNCTION transaction_of_refund;
