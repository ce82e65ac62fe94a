-- Webhooks, and what is told through them.

CREATE TABLE webhooks (
  id              BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  tenant_id       BLOB NOT NULL REFERENCES registered_tenants (id),
  url             TEXT NOT NULL,
  description     TEXT NOT NULL,
  -- JSON: the kinds of events that are told.
  events          TEXT NOT NULL,
  -- Signs what is sent, so it is kept as it is. It is shown once, when it is made.
  secret          TEXT NOT NULL,
  active          INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
  -- Calls of users whose calls are confidential are told too: who wrote the webhook sees them.
  confidential    INTEGER NOT NULL DEFAULT 0 CHECK (confidential IN (0, 1)),
  -- Set when it was switched off for its failures.
  disabled_reason TEXT,
  last_success_at INTEGER,
  last_failure_at INTEGER,
  version         INTEGER NOT NULL DEFAULT 1,
  created_at      INTEGER NOT NULL,
  changed_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX webhooks_by_tenant ON webhooks (tenant_id, created_at);

-- One event for one webhook: in the queue while it is waiting, in the log after that.
CREATE TABLE deliveries (
  -- In the order they were made. It is the `webhook-id` of each attempt.
  id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  webhook_id  BLOB NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  event       TEXT NOT NULL,
  body        TEXT NOT NULL,
  state       TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'given_up')),
  created_at  INTEGER NOT NULL,
  attempts    INTEGER NOT NULL DEFAULT 0,
  -- When it is tried, or tried again; null once it is not.
  next_at     INTEGER,
  last_at     INTEGER,
  -- What came of the last attempt: the endpoint's status, or why it did not answer.
  last_status INTEGER,
  last_error  TEXT,
  took_ms     INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_due ON deliveries (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_waiting ON deliveries (webhook_id) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, id);
