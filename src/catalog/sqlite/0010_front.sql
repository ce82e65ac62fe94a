-- The audit in the order in which records came, over all tenants, for those who follow it; and answers to creations, for
-- those who ask again.

CREATE TABLE audit_order (
  position  INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id BLOB NOT NULL,
  number    INTEGER NOT NULL
) STRICT;

INSERT INTO audit_order (tenant_id, number)
SELECT tenant_id, number FROM audit ORDER BY at, tenant_id, number;

CREATE TRIGGER audit_has_an_order AFTER INSERT ON audit
BEGIN
  INSERT INTO audit_order (tenant_id, number) VALUES (NEW.tenant_id, NEW.number);
END;

CREATE TRIGGER audit_order_is_not_changed BEFORE UPDATE ON audit_order
BEGIN
  SELECT RAISE(ABORT, 'the audit is append-only');
END;

CREATE TRIGGER audit_order_is_not_removed BEFORE DELETE ON audit_order
BEGIN
  SELECT RAISE(ABORT, 'the audit is append-only');
END;

-- For questions over all tenants.
CREATE INDEX audit_in_time ON audit (at);

-- How far the audit was told to whoever follows it.
CREATE TABLE audit_followers (
  name     TEXT NOT NULL PRIMARY KEY,
  position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was answered to requests that carried an idempotency key. An answer without a status is still to come, or never
-- came: whether the thing was made is not known.
CREATE TABLE idempotent_answers (
  -- Kind and id of who asked.
  principal TEXT NOT NULL,
  key       TEXT NOT NULL,
  -- Hash of method, path and body.
  request   BLOB NOT NULL CHECK (length(request) = 32),
  asked_at  INTEGER NOT NULL,
  status    INTEGER,
  -- JSON: name to value.
  headers   TEXT NOT NULL DEFAULT '{}',
  -- None: it held a secret, which is told once.
  body      BLOB,
  PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotent_answers_by_age ON idempotent_answers (asked_at);
