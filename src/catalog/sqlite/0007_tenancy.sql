-- Plans, extensions, and who has which extension when.

-- Plans that were made through the API; those of the configuration are in its files.
CREATE TABLE plans (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  -- What tenants subscribe to. It stays as it is.
  name       TEXT NOT NULL COLLATE NOCASE UNIQUE,
  -- JSON: limits and features; what is absent is unlimited.
  limits     TEXT NOT NULL,
  version    INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Extensions that were made through the API; those of the configuration are in its files.
CREATE TABLE extensions (
  -- Made of tenant, kind and text: the same wherever the extension is written.
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  tenant_id  BLOB NOT NULL REFERENCES registered_tenants (id),
  kind       TEXT NOT NULL CHECK (kind IN ('number', 'range', 'prefix')),
  -- As it was written: a number, 'first-last', or a prefix.
  text       TEXT NOT NULL,
  -- JSON: a list of numbers.
  aliases    TEXT NOT NULL DEFAULT '[]',
  -- As in the configuration; none: the tenant's.
  policy     TEXT,
  version    INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX extensions_by_tenant ON extensions (tenant_id);

-- Who has an extension from when to when. Nothing of the past is changed, and nothing is removed once it was in force.
CREATE TABLE allocations (
  id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  tenant_id    BLOB NOT NULL REFERENCES registered_tenants (id),
  -- Of the configuration or of the table above.
  extension_id BLOB NOT NULL CHECK (length(extension_id) = 16),
  -- One number of a range or of a prefix; none: all of the extension.
  number       TEXT,
  user_id      BLOB NOT NULL REFERENCES users (id),
  valid_from   INTEGER NOT NULL,
  -- The first moment at which it does not hold any more.
  valid_to     INTEGER CHECK (valid_to >= valid_from),
  version      INTEGER NOT NULL DEFAULT 1,
  created_at   INTEGER NOT NULL,
  changed_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX allocations_by_extension ON allocations (extension_id, valid_from);
CREATE INDEX allocations_by_tenant ON allocations (tenant_id, valid_from);
CREATE INDEX allocations_by_user ON allocations (user_id, valid_from);

-- Who is removed gives back what they have.
CREATE TRIGGER removed_users_give_back AFTER UPDATE OF removed_at ON users
WHEN OLD.removed_at IS NULL AND NEW.removed_at IS NOT NULL
BEGIN
  UPDATE allocations
     SET valid_to = max(valid_from, NEW.removed_at), version = version + 1, changed_at = NEW.removed_at
   WHERE user_id = NEW.id AND (valid_to IS NULL OR valid_to > NEW.removed_at);
END;

-- Counts every change that the directory is made of, whoever makes it: who has read it at this count has read it all.
CREATE TABLE directory_generation (
  only       INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
  generation INTEGER NOT NULL
) STRICT;

INSERT INTO directory_generation (only, generation) VALUES (1, 1);

CREATE TRIGGER tenant_made AFTER INSERT ON registered_tenants
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER tenant_changed AFTER UPDATE OF name, origin, timezone, language, plan, status, rules ON registered_tenants
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER tenant_removed AFTER DELETE ON registered_tenants
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER plan_made AFTER INSERT ON plans
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER plan_changed AFTER UPDATE ON plans
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER plan_removed AFTER DELETE ON plans
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER extension_made AFTER INSERT ON extensions
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER extension_changed AFTER UPDATE ON extensions
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER extension_removed AFTER DELETE ON extensions
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER allocation_made AFTER INSERT ON allocations
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER allocation_changed AFTER UPDATE ON allocations
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER allocation_removed AFTER DELETE ON allocations
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER user_made AFTER INSERT ON users WHEN NEW.recording_policy IS NOT NULL
BEGIN UPDATE directory_generation SET generation = generation + 1; END;
CREATE TRIGGER user_changed AFTER UPDATE OF login, recording_policy, removed_at ON users
BEGIN UPDATE directory_generation SET generation = generation + 1; END;

-- What each tenant has recorded, by the calendar month (UTC) in which the calls began: 202611.
CREATE TABLE recorded (
  tenant_id  BLOB NOT NULL,
  month      INTEGER NOT NULL,
  recordings INTEGER NOT NULL,
  bytes      INTEGER NOT NULL,
  length_ms  INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, month)
) STRICT, WITHOUT ROWID;

INSERT INTO recorded (tenant_id, month, recordings, bytes, length_ms)
SELECT tenant_id, CAST(strftime('%Y%m', started_at / 1000000000, 'unixepoch') AS INTEGER), count(*), sum(size_bytes), sum(length_ms)
  FROM calls WHERE file_path IS NOT NULL GROUP BY 1, 2;

CREATE TRIGGER call_recorded AFTER INSERT ON calls WHEN NEW.file_path IS NOT NULL
BEGIN
  INSERT INTO recorded (tenant_id, month, recordings, bytes, length_ms)
  VALUES (NEW.tenant_id, CAST(strftime('%Y%m', NEW.started_at / 1000000000, 'unixepoch') AS INTEGER), 1, NEW.size_bytes, NEW.length_ms)
  ON CONFLICT (tenant_id, month) DO UPDATE
     SET recordings = recordings + 1, bytes = bytes + excluded.bytes, length_ms = length_ms + excluded.length_ms;
END;

CREATE TRIGGER recording_removed AFTER DELETE ON calls WHEN OLD.file_path IS NOT NULL
BEGIN
  UPDATE recorded SET recordings = recordings - 1, bytes = bytes - OLD.size_bytes, length_ms = length_ms - OLD.length_ms
   WHERE tenant_id = OLD.tenant_id
     AND month = CAST(strftime('%Y%m', OLD.started_at / 1000000000, 'unixepoch') AS INTEGER);
END;

-- A row that is written again: what it was goes, what it is comes.
CREATE TRIGGER recording_changed AFTER UPDATE OF file_path, size_bytes, length_ms, started_at ON calls
WHEN OLD.file_path IS NOT NEW.file_path OR OLD.size_bytes IS NOT NEW.size_bytes
  OR OLD.length_ms <> NEW.length_ms OR OLD.started_at <> NEW.started_at
BEGIN
  UPDATE recorded
     SET recordings = recordings - 1, bytes = bytes - OLD.size_bytes, length_ms = length_ms - OLD.length_ms
   WHERE OLD.file_path IS NOT NULL AND tenant_id = OLD.tenant_id
     AND month = CAST(strftime('%Y%m', OLD.started_at / 1000000000, 'unixepoch') AS INTEGER);
  INSERT INTO recorded (tenant_id, month, recordings, bytes, length_ms)
  SELECT NEW.tenant_id, CAST(strftime('%Y%m', NEW.started_at / 1000000000, 'unixepoch') AS INTEGER), 1, NEW.size_bytes, NEW.length_ms
   WHERE NEW.file_path IS NOT NULL
  ON CONFLICT (tenant_id, month) DO UPDATE
     SET recordings = recordings + 1, bytes = bytes + excluded.bytes, length_ms = length_ms + excluded.length_ms;
END;
