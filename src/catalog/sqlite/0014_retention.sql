-- Calls that go because their tenant's plan keeps calls for so many days and no longer.

-- What is in force for each tenant that has such a plan, and what is to be. Days count from the end of a call.
CREATE TABLE retentions (
  tenant_id     BLOB NOT NULL PRIMARY KEY CHECK (length(tenant_id) = 16),
  -- None: calls are kept for ever.
  days          INTEGER CHECK (days > 0),
  -- What the plan gives where that is less, and since when it has: it is in force a day later.
  shorter_days  INTEGER CHECK (shorter_days > 0),
  shorter_since INTEGER,
  CHECK ((shorter_days IS NULL) = (shorter_since IS NULL))
) STRICT, WITHOUT ROWID;

-- The time by which calls go: one row, from the first look of a daemon on. A clock that was put forward does not move it at once.
CREATE TABLE retention_clock (
  only        INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
  believed_at INTEGER NOT NULL
) STRICT;

-- 1: the call's days are over. Its row is gone, and so is this one when its files are.
ALTER TABLE deleted_calls ADD COLUMN expired INTEGER NOT NULL DEFAULT 0 CHECK (expired IN (0, 1));
