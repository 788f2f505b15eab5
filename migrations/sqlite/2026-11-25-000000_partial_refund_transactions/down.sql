CREATE TABLE new_partial_refunds (
    payment_id TEXT NOT NULL REFERENCES external_payments (payment_id),
    sent_at    TEXT NOT NULL,
    PRIMARY KEY (payment_id, sent_at)
) STRICT;

INSERT INTO new_partial_refunds SELECT DISTINCT payment_id, sent_at FROM partial_refunds;

DROP TABLE partial_refunds;
ALTER TABLE new_partial_refunds RENAME TO partial_refunds;
