-- One table for every Stripe object: what it is lives in `data`, what we look
-- it up by stands beside it. `seq` is the order of creation and of list pages.
CREATE TABLE IF NOT EXISTS objects (
    id       text PRIMARY KEY,
    object   text NOT NULL,
    customer text,
    parent   text,
    seq      bigint GENERATED ALWAYS AS IDENTITY,
    due_at   bigint,
    data     jsonb NOT NULL
);
-- Lists of one kind, newest first; by customer; what falls due next.
CREATE INDEX IF NOT EXISTS objects_of_kind ON objects (object, seq DESC);
CREATE INDEX IF NOT EXISTS objects_of_customer ON objects (customer, object, seq DESC);
CREATE INDEX IF NOT EXISTS objects_of_parent ON objects (parent, object, seq DESC);
CREATE INDEX IF NOT EXISTS objects_due ON objects (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS idempotency (
    key         text PRIMARY KEY,
    fingerprint text NOT NULL,
    status      int NOT NULL,
    body        text NOT NULL,
    request_id  text NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   text NOT NULL,
    due        double precision NOT NULL,
    attempts   int NOT NULL DEFAULT 0,
    state      text NOT NULL DEFAULT 'pending',
    last_error text
);
CREATE INDEX IF NOT EXISTS outbox_pending ON outbox (due) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS outbox_of_event ON outbox (event_id);

CREATE TABLE IF NOT EXISTS faults (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text NOT NULL,
    method    text NOT NULL DEFAULT '%',
    path      text NOT NULL DEFAULT '%',
    remaining int NOT NULL,
    seconds   double precision NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS settings (
    key   text PRIMARY KEY,
    value jsonb NOT NULL
);
