-- Signing in. Nothing here opens a door to who reads it: passwords and tokens are hashes, secrets of authenticators are
-- sealed with a key that lies elsewhere.

CREATE TABLE credentials (
  user_id          BLOB NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  -- argon2id in PHC format; none: nobody can sign in with a password.
  password_hash    TEXT,
  password_set_at  INTEGER,
  -- Sealed; none: there is no authenticator.
  totp_secret      BLOB,
  -- None: it has not shown a code yet.
  totp_since       INTEGER,
  -- The step of the last code that was taken.
  totp_last_step   INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE earlier_passwords (
  user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  set_at  INTEGER NOT NULL,
  hash    TEXT NOT NULL,
  PRIMARY KEY (user_id, set_at)
) STRICT, WITHOUT ROWID;

-- Those that were not used yet.
CREATE TABLE recovery_codes (
  user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  hash    BLOB NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
  id            BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  token_hash    BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
  user_id       BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  began_at      INTEGER NOT NULL,
  used_at       INTEGER NOT NULL,
  address       TEXT,
  user_agent    TEXT,
  totp_shown    INTEGER NOT NULL CHECK (totp_shown IN (0, 1)),
  -- When it was last shown who it is.
  stepped_up_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id, began_at);
CREATE INDEX sessions_by_use ON sessions (used_at);

-- Whoever gets another role, is put out of action or is removed is signed out, whoever writes that.
CREATE TRIGGER sessions_end_with_rights
AFTER UPDATE OF role_id, active, removed_at ON users
WHEN OLD.role_id <> NEW.role_id OR OLD.active <> NEW.active OR OLD.removed_at IS NOT NEW.removed_at
BEGIN
  DELETE FROM sessions WHERE user_id = NEW.id;
  DELETE FROM password_resets WHERE user_id = NEW.id;
END;

-- Letters that are on their way; each opens once.
CREATE TABLE password_resets (
  token_hash BLOB NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
  user_id    BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX password_resets_by_user ON password_resets (user_id);

-- Programs that ask with a token. Their rights are a part of those of the user who answers for them.
CREATE TABLE service_accounts (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  tenant_id      BLOB NOT NULL REFERENCES registered_tenants (id),
  name           TEXT NOT NULL COLLATE NOCASE,
  reason         TEXT NOT NULL,
  responsible_id BLOB NOT NULL REFERENCES users (id),
  -- JSON: resource to operations.
  permissions    TEXT NOT NULL,
  active         INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
  version        INTEGER NOT NULL DEFAULT 1,
  created_at     INTEGER NOT NULL,
  changed_at     INTEGER NOT NULL,
  UNIQUE (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX service_accounts_by_responsible ON service_accounts (responsible_id);

CREATE TABLE tokens (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  account_id BLOB NOT NULL REFERENCES service_accounts (id) ON DELETE CASCADE,
  hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
  -- Its first characters.
  hint       TEXT NOT NULL,
  -- JSON: networks that it works from; empty: all.
  networks   TEXT NOT NULL,
  -- Whether it may do what a person has to prove again for: export, delete, release a hold.
  unattended INTEGER NOT NULL CHECK (unattended IN (0, 1)),
  expires_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  used_at    INTEGER,
  used_from  TEXT,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_account ON tokens (account_id, created_at);

-- Times in which a user of the System tenant works in another.
CREATE TABLE support_accesses (
  id        BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  tenant_id BLOB NOT NULL REFERENCES registered_tenants (id),
  user_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  reason    TEXT NOT NULL,
  began_at  INTEGER NOT NULL,
  ends_at   INTEGER NOT NULL,
  -- When it was over, and the tenant's audit says so; none: it lasts.
  ended_at  INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX support_by_user ON support_accesses (user_id, tenant_id) WHERE ended_at IS NULL;
CREATE INDEX support_by_end ON support_accesses (ends_at) WHERE ended_at IS NULL;
