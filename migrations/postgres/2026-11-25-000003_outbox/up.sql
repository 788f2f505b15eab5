-- Telling the portal of events: which event is how far, a queue for each order, and what came of each attempt.
-- Nothing here refers to another table by a constraint: a callback would pay for each.

ALTER TABLE events RENAME TO former_events;

-- What the portal must be told. position orders the events of one order as they were settled; gaps mean nothing, and
-- across orders a smaller one may become visible later. paid_at is when the money had come in, NULL if it had not.
--   event_id      a UUID version 7, made of the audit entry's: the events of one time are near to each other
--   failures      attempts that have failed; an operator who has an event sent again sets it to 0
--   delivered_at  when the portal acknowledged it, NULL before
--   died_at       when it was given up, NULL if it was not
-- The row changes once, when the event is delivered. fillfactor = 50 leaves room on its page for that, and no column
-- that changes then is indexed, so it touches no index (HOT).
CREATE TABLE events (
    event_id     UUID PRIMARY KEY,
    position     BIGINT GENERATED ALWAYS AS IDENTITY,
    kind         TEXT NOT NULL,
    order_key    BIGINT NOT NULL,
    payment_key  BIGINT NOT NULL,
    paid_at      TIMESTAMPTZ,
    created_at   TIMESTAMPTZ NOT NULL,
    failures     INTEGER NOT NULL DEFAULT 0,
    delivered_at TIMESTAMPTZ,
    died_at      TIMESTAMPTZ,
    CHECK (delivered_at IS NULL OR died_at IS NULL)
) WITH (fillfactor = 50);

INSERT INTO events (event_id, kind, order_key, payment_key, paid_at, created_at)
    SELECT overlay(gen_random_uuid()::text PLACING substr(millis, 1, 8) || '-' || substr(millis, 9) || '-7' FROM 1)::uuid,
           kind, order_key, payment_key, paid_at, created_at
    FROM (SELECT e.*, p.payment_key, p.order_key,
                 lpad(to_hex((extract(epoch FROM e.created_at) * 1000)::bigint), 12, '0') AS millis
          FROM former_events e JOIN external_payments p ON p.payment_id = e.payment_id) AS e
    ORDER BY e.event_id;

DROP TABLE former_events;

CREATE INDEX events_order ON events (order_key, position);
CREATE INDEX events_dead ON events (event_id) WHERE died_at IS NOT NULL;

-- The orders with events that are to be sent. A row is claimed by whoever sends them, until claimed_until by the clock
-- of the database; it is not locked meanwhile. revision grows with each event that is added: the row goes when all are
-- delivered, unless another one was added since it was claimed.
CREATE TABLE event_queues (
    order_key     BIGINT PRIMARY KEY,
    due_at        TIMESTAMPTZ NOT NULL,
    claimed_until TIMESTAMPTZ,
    revision      BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE INDEX event_queues_due ON event_queues (due_at);

INSERT INTO event_queues (order_key, due_at) SELECT DISTINCT order_key, now() FROM events;

-- What came of each attempt to send an event: the status that the portal answered, NULL if it did not, and why the
-- attempt failed, NULL if it did not.
CREATE TABLE event_attempts (
    event_id     UUID NOT NULL,
    attempted_at TIMESTAMPTZ NOT NULL,
    duration_ms  BIGINT NOT NULL,
    status       INTEGER,
    error        TEXT,
    PRIMARY KEY (event_id, attempted_at)
);
