-- What people add to calls, and what is done with them: notes, categories, legal holds, deletion, shares.
--
-- All of these name a call by tenant and id, not by its row: the rows are made anew when the catalog is rebuilt from the
-- recordings, and these are taken over.

-- Which of the sides is the tenant's own; none where neither is.
ALTER TABLE calls ADD COLUMN direction TEXT CHECK (direction IN ('inbound', 'outbound', 'internal'));
UPDATE calls SET direction = (
  SELECT CASE WHEN count(DISTINCT side) = 2 THEN 'internal' WHEN min(side) = 'caller' THEN 'outbound' WHEN min(side) = 'callee' THEN 'inbound' END
  FROM participants p WHERE p.call_row = calls.call_row
);

-- When somebody deleted the call. The row stays and says so; its file's columns are emptied when the files are gone.
ALTER TABLE calls ADD COLUMN deleted_at INTEGER;
CREATE INDEX calls_by_deletion ON calls (tenant_id, started_at) WHERE deleted_at IS NOT NULL;

-- In the order of length and of score.
CREATE INDEX calls_by_length ON calls (tenant_id, length_ms, started_at);
CREATE INDEX calls_by_mos ON calls (tenant_id, mos, started_at) WHERE mos IS NOT NULL;

-- Calls that were deleted. What is named here is never entered again, though a sidecar of it be found.
CREATE TABLE deleted_calls (
  tenant_id     BLOB NOT NULL CHECK (length(tenant_id) = 16),
  call_id       BLOB NOT NULL CHECK (length(call_id) = 16),
  deleted_at    INTEGER NOT NULL,
  -- For people: who, and why.
  deleted_by    TEXT NOT NULL,
  reason        TEXT NOT NULL,
  -- The audio, below the root of the storage; the other files are named after it. None where there was no recording.
  file_path     TEXT,
  -- When the last file was gone.
  files_gone_at INTEGER,
  PRIMARY KEY (tenant_id, call_id)
) STRICT, WITHOUT ROWID;

-- What is still to be removed.
CREATE INDEX deleted_calls_with_files ON deleted_calls (deleted_at) WHERE file_path IS NOT NULL AND files_gone_at IS NULL;

-- A call that nobody may delete.
CREATE TABLE call_holds (
  tenant_id  BLOB NOT NULL CHECK (length(tenant_id) = 16),
  call_id    BLOB NOT NULL CHECK (length(call_id) = 16),
  -- The call's, repeated for the index.
  started_at INTEGER NOT NULL,
  held_at    INTEGER NOT NULL,
  held_by    TEXT NOT NULL,
  reason     TEXT NOT NULL,
  PRIMARY KEY (tenant_id, call_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX call_holds_by_time ON call_holds (tenant_id, started_at);

CREATE TABLE call_notes (
  note_row    INTEGER PRIMARY KEY,
  id          BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
  tenant_id   BLOB NOT NULL CHECK (length(tenant_id) = 16),
  call_id     BLOB NOT NULL CHECK (length(call_id) = 16),
  -- The call's, repeated for the index.
  started_at  INTEGER NOT NULL,
  -- A user's id, or none; the name is what people see.
  author_id   BLOB CHECK (length(author_id) = 16),
  author_name TEXT NOT NULL,
  -- Milliseconds from the start of the audio; none: of the call as a whole.
  place_ms    INTEGER CHECK (place_ms >= 0),
  text        TEXT NOT NULL,
  pinned      INTEGER NOT NULL CHECK (pinned IN (0, 1)),
  created_at  INTEGER NOT NULL,
  edited_at   INTEGER,
  version     INTEGER NOT NULL
) STRICT;

CREATE INDEX call_notes_by_call ON call_notes (tenant_id, call_id);
CREATE INDEX call_notes_by_time ON call_notes (tenant_id, started_at);
CREATE INDEX call_notes_pinned ON call_notes (tenant_id, started_at) WHERE pinned = 1;

-- Words of notes. The tenant is a word of its own that every question has, so that its notes are found among all others'.
CREATE VIRTUAL TABLE call_note_words USING fts5 (
  tenant, text, content = '', contentless_delete = 1, detail = column, tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER call_notes_written AFTER INSERT ON call_notes BEGIN
  INSERT INTO call_note_words (rowid, tenant, text) VALUES (new.note_row, hex(new.tenant_id), new.text);
END;
CREATE TRIGGER call_notes_edited AFTER UPDATE OF text ON call_notes BEGIN
  UPDATE call_note_words SET tenant = hex(new.tenant_id), text = new.text WHERE rowid = new.note_row;
END;
CREATE TRIGGER call_notes_removed AFTER DELETE ON call_notes BEGIN
  DELETE FROM call_note_words WHERE rowid = old.note_row;
END;

-- What a tenant sorts its calls into.
CREATE TABLE call_categories (
  id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  tenant_id   BLOB NOT NULL CHECK (length(tenant_id) = 16),
  name        TEXT NOT NULL COLLATE NOCASE,
  description TEXT NOT NULL,
  -- #rrggbb, or empty.
  colour      TEXT NOT NULL,
  created_at  INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  UNIQUE (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE categorized_calls (
  tenant_id   BLOB NOT NULL CHECK (length(tenant_id) = 16),
  call_id     BLOB NOT NULL CHECK (length(call_id) = 16),
  category_id BLOB NOT NULL REFERENCES call_categories (id) ON DELETE CASCADE,
  -- The call's, repeated for the index.
  started_at  INTEGER NOT NULL,
  assigned_at INTEGER NOT NULL,
  assigned_by TEXT NOT NULL,
  PRIMARY KEY (tenant_id, call_id, category_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX categorized_calls_by_category ON categorized_calls (category_id, started_at);

-- Links by which somebody without an account hears one call.
CREATE TABLE call_shares (
  id            BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  tenant_id     BLOB NOT NULL CHECK (length(tenant_id) = 16),
  call_id       BLOB NOT NULL CHECK (length(call_id) = 16),
  created_at    INTEGER NOT NULL,
  created_by    TEXT NOT NULL,
  -- A user's id, or none.
  creator_id    BLOB CHECK (length(creator_id) = 16),
  reason        TEXT NOT NULL,
  expires_at    INTEGER NOT NULL,
  revoked_at    INTEGER,
  -- An argon2id hash, or none.
  password_hash TEXT,
  -- How often it may be opened; none: any number of times.
  max_uses      INTEGER CHECK (max_uses > 0),
  uses          INTEGER NOT NULL DEFAULT 0,
  last_used_at  INTEGER,
  version       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX call_shares_by_call ON call_shares (tenant_id, call_id);

-- What share links are signed with: one row, written when the first link is made.
CREATE TABLE call_share_key (
  only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
  key  BLOB NOT NULL CHECK (length(key) = 32)
) STRICT;

-- Whether a tenant has users whose calls are confidential is asked with every search.
CREATE INDEX users_confidential ON users (tenant_id) WHERE confidential = 1;
