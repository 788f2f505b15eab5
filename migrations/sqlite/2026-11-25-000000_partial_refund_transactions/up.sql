-- Of one payment, two partial refunds may have been sent at the same moment: their transactions tell them apart. Empty
-- where the sender names none. The default is for the previous version of the program, which knows no such column.
CREATE TABLE new_partial_refunds (
    payment_id     TEXT NOT NULL REFERENCES external_payments (payment_id),
    sent_at        TEXT NOT NULL,
    transaction_id TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (payment_id, sent_at, transaction_id)
) STRICT;

-- What the sender named is in the audit trail.
INSERT INTO new_partial_refunds
SELECT r.payment_id, r.sent_at, coalesce(
    (SELECT max(d.transaction_id) FROM external_payments p JOIN deliveries d ON d.payment_key = p.payment_key
     WHERE p.payment_id = r.payment_id AND d.sent_at = r.sent_at AND d.status = 'completed'
     AND d.event = 'refunded' AND d.outcome IN ('partially_refunded', 'unapplied')),
    '')
FROM partial_refunds r;

DROP TABLE partial_refunds;
ALTER TABLE new_partial_refunds RENAME TO partial_refunds;
