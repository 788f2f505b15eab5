-- Telling the portal of events: which event is how far, a queue for each order, and what came of each attempt.

ALTER TABLE events RENAME TO former_events;

-- What the portal must be told. position orders the events as they were settled; gaps mean nothing. paid_at is when the
-- money had come in, NULL if it had not.
--   event_id      a UUID version 7, made of the audit entry's: the events of one time are near to each other
--   failures      attempts that have failed; an operator who has an event sent again sets it to 0
--   delivered_at  when the portal acknowledged it, NULL before
--   died_at       when it was given up, NULL if it was not
CREATE TABLE events (
    position     INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id     TEXT NOT NULL UNIQUE,
    kind         TEXT NOT NULL,
    order_key    INTEGER NOT NULL,
    payment_key  INTEGER NOT NULL,
    paid_at      TEXT,
    created_at   TEXT NOT NULL,
    failures     INTEGER NOT NULL DEFAULT 0,
    delivered_at TEXT,
    died_at      TEXT,
    CHECK (delivered_at IS NULL OR died_at IS NULL)
) STRICT;

INSERT INTO events (event_id, kind, order_key, payment_key, paid_at, created_at)
    SELECT printf('%08x-%04x-7%03x-8%03x-%012x', millis >> 16, millis & 0xffff, abs(random()) & 0xfff,
                  abs(random()) & 0xfff, abs(random()) & 0xffffffffffff),
           kind, order_key, payment_key, paid_at, created_at
    FROM (SELECT e.*, p.payment_key, p.order_key,
                 CAST(round(unixepoch(e.created_at, 'subsec') * 1000) AS INTEGER) AS millis
          FROM former_events e JOIN external_payments p ON p.payment_id = e.payment_id)
    ORDER BY event_id;

DROP TABLE former_events;

CREATE INDEX events_order ON events (order_key, position);
CREATE INDEX events_dead ON events (event_id) WHERE died_at IS NOT NULL;

-- The orders with events that are to be sent. A row is claimed by whoever sends them, until claimed_until by the clock
-- of the machine. revision grows with each event that is added: the row goes when all are delivered, unless another one
-- was added since it was claimed.
CREATE TABLE event_queues (
    order_key     INTEGER PRIMARY KEY,
    due_at        TEXT NOT NULL,
    claimed_until TEXT,
    revision      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX event_queues_due ON event_queues (due_at);

INSERT INTO event_queues (order_key, due_at)
    SELECT DISTINCT order_key, strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now') FROM events;

-- What came of each attempt to send an event: the status that the portal answered, NULL if it did not, and why the
-- attempt failed, NULL if it did not.
CREATE TABLE event_attempts (
    event_id     TEXT NOT NULL,
    attempted_at TEXT NOT NULL,
    duration_ms  INTEGER NOT NULL,
    status       INTEGER,
    error        TEXT,
    PRIMARY KEY (event_id, attempted_at)
) STRICT, WITHOUT ROWID;
