-- Tenants, their people, and what these did.
--
-- Every object has a version, which counts its changes: whoever edits says which one was read.

-- Every tenant that is known. Those of the configuration are entered at each start and reload, with the place they come
-- from; the others were made through the API.
CREATE TABLE registered_tenants (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name       TEXT NOT NULL,
  -- What its people name it by when they sign in.
  slug       TEXT NOT NULL COLLATE NOCASE UNIQUE,
  -- File and line of the configuration; none when it was made through the API.
  origin     TEXT,
  timezone   TEXT NOT NULL DEFAULT 'UTC',
  language   TEXT NOT NULL DEFAULT 'en',
  plan       TEXT,
  -- 'gone': it was in the configuration once. Its calls are kept.
  status     TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'gone')),
  -- JSON: match rules, and what the tenant has set for itself.
  rules      TEXT NOT NULL DEFAULT '[]',
  settings   TEXT NOT NULL DEFAULT '{}',
  version    INTEGER NOT NULL DEFAULT 1,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO registered_tenants (id, name, slug, created_at, changed_at)
VALUES (X'11111111111111111111111111111111', 'System', 'system', 0, 0);

CREATE TABLE groups (
  id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  tenant_id   BLOB NOT NULL REFERENCES registered_tenants (id),
  name        TEXT NOT NULL COLLATE NOCASE,
  description TEXT NOT NULL,
  version     INTEGER NOT NULL DEFAULT 1,
  created_at  INTEGER NOT NULL,
  changed_at  INTEGER NOT NULL,
  UNIQUE (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- Roles that were made. The presets are the program's own, with ids made of tenant and name.
CREATE TABLE roles (
  id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  tenant_id    BLOB NOT NULL REFERENCES registered_tenants (id),
  name         TEXT NOT NULL COLLATE NOCASE,
  access_level TEXT NOT NULL CHECK (access_level IN ('root', 'system', 'managed_groups', 'user')),
  -- JSON: resource to operations.
  permissions  TEXT NOT NULL,
  version      INTEGER NOT NULL DEFAULT 1,
  created_at   INTEGER NOT NULL,
  changed_at   INTEGER NOT NULL,
  UNIQUE (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- A login is never given to another person, for the calls of its extensions name it: who is removed stays as a row
-- without a person in it.
CREATE TABLE users (
  id                   BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  tenant_id            BLOB NOT NULL REFERENCES registered_tenants (id),
  login                TEXT NOT NULL COLLATE NOCASE,
  email                TEXT,
  name                 TEXT NOT NULL,
  group_id             BLOB REFERENCES groups (id),
  role_id              BLOB NOT NULL,
  active               INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
  valid_until          INTEGER,
  must_change_password INTEGER NOT NULL DEFAULT 0 CHECK (must_change_password IN (0, 1)),
  confidential         INTEGER NOT NULL DEFAULT 0 CHECK (confidential IN (0, 1)),
  -- JSON, as in the configuration; none: the tenant's.
  recording_policy     TEXT,
  removed_at           INTEGER,
  version              INTEGER NOT NULL DEFAULT 1,
  created_at           INTEGER NOT NULL,
  changed_at           INTEGER NOT NULL,
  UNIQUE (tenant_id, login)
) STRICT, WITHOUT ROWID;

CREATE INDEX users_by_group ON users (tenant_id, group_id);
CREATE INDEX users_by_role ON users (tenant_id, role_id);

-- The groups that a user looks after.
CREATE TABLE managed_groups (
  user_id  BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  group_id BLOB NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
  PRIMARY KEY (user_id, group_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX managers_by_group ON managed_groups (group_id);

-- What people did. One chain for each tenant: each record has the hash of the one before it in its own.
CREATE TABLE audit (
  tenant_id    BLOB NOT NULL REFERENCES registered_tenants (id),
  -- From 1, without a gap.
  number       INTEGER NOT NULL CHECK (number >= 1),
  at           INTEGER NOT NULL,
  actor_kind   TEXT NOT NULL,
  actor_id     BLOB,
  actor_name   TEXT NOT NULL,
  actor_tenant BLOB,
  role         TEXT NOT NULL,
  address      TEXT,
  request_id   TEXT,
  action       TEXT NOT NULL,
  object_kind  TEXT NOT NULL,
  object_id    BLOB,
  -- JSON.
  before       TEXT,
  after        TEXT,
  reason       TEXT,
  outcome      TEXT NOT NULL CHECK (outcome IN ('allowed', 'denied', 'failed')),
  hash         BLOB NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (tenant_id, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_by_time ON audit (tenant_id, at);
CREATE INDEX audit_by_object ON audit (tenant_id, object_id, at) WHERE object_id IS NOT NULL;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit is append-only');
END;

CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
BEGIN
  SELECT RAISE(ABORT, 'the audit is append-only');
END;
