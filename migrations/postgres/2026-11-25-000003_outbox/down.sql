DROP TABLE event_attempts;
DROP TABLE event_queues;
ALTER TABLE events RENAME TO later_events;
CREATE TABLE events (
    event_id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       TEXT NOT NULL,
    order_id   TEXT COLLATE "C" NOT NULL,
    payment_id TEXT COLLATE "C" NOT NULL,
    paid_at    TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL
);
INSERT INTO events (kind, order_id, payment_id, paid_at, created_at)
    SELECT e.kind, o.order_id, p.payment_id, e.paid_at, e.created_at
    FROM later_events e
    JOIN orders o ON o.order_key = e.order_key
    JOIN external_payments p ON p.payment_key = e.payment_key
    ORDER BY e.position;
DROP TABLE later_events;
