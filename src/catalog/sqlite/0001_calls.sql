-- What was recorded, and what was not and why.
--
-- Times are integer nanoseconds since 1970-01-01T00:00:00 UTC. Ids are UUIDs, 16 bytes. Text that came over the wire holds
-- no NUL and is cut to a length by the program; an empty text means that there was none. A table that a tenant's answer
-- is read from has the tenant in its rows and first in its indexes.

-- Tenants as calls named them. Their settings are in the configuration; a tenant that was taken out of it stays here as
-- long as the catalog does, so that its calls keep a name.
CREATE TABLE tenants (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  -- As the latest call had it.
  name       TEXT NOT NULL,
  -- Start of its earliest and of its latest call.
  first_seen INTEGER NOT NULL,
  last_seen  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Calls that belong together, as far as one tenant can see: when two tenants share an interaction each has a row of its
-- own, with the times of its own calls.
CREATE TABLE interactions (
  tenant_id BLOB NOT NULL REFERENCES tenants (id),
  id        BLOB NOT NULL CHECK (length(id) = 16),
  -- Start of the first call and end (or start, while there is no end) of the last one.
  first_at  INTEGER NOT NULL,
  last_at   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

-- One row for each leg of a call and each tenant that owns it.
CREATE TABLE calls (
  -- Never leaves the catalog: it would tell a tenant how many calls the others make.
  call_row          INTEGER PRIMARY KEY,
  tenant_id         BLOB NOT NULL REFERENCES tenants (id),
  -- Of the recording, where there is one.
  id                BLOB NOT NULL CHECK (length(id) = 16),
  interaction_id    BLOB,

  -- What signalling said: the SIP Call-ID, the sensor and the vantage point the leg was seen at, and its times.
  sip_call_id       TEXT NOT NULL,
  sensor            TEXT NOT NULL,
  vantage           TEXT NOT NULL,
  started_at        INTEGER NOT NULL,
  answered_at       INTEGER,
  ended_at          INTEGER,
  end_reason        TEXT NOT NULL,
  -- Why there is a recording, or why there is none: a code in snake_case.
  disposition       TEXT NOT NULL,

  -- As seen in signalling; as normalised for the tenant; the name shown beside it.
  caller_number     TEXT NOT NULL,
  caller_normalised TEXT NOT NULL,
  caller_display    TEXT NOT NULL,
  callee_number     TEXT NOT NULL,
  callee_normalised TEXT NOT NULL,
  callee_display    TEXT NOT NULL,

  -- What media said.
  codec             TEXT NOT NULL,
  length_ms         INTEGER NOT NULL CHECK (length_ms >= 0),
  packets_lost      INTEGER NOT NULL CHECK (packets_lost >= 0),
  packets_expected  INTEGER NOT NULL CHECK (packets_expected >= 0),

  -- The recording's file, below the root of the storage. All or none of these, but for the hash.
  file_path         TEXT,
  size_bytes        INTEGER CHECK (size_bytes >= 0),
  file_format       TEXT,
  sample_rate_hz    INTEGER CHECK (sample_rate_hz >= 0),
  -- BLAKE3 of the file's audio.
  blake3            BLOB CHECK (length(blake3) = 32),

  -- JSON: whose call it is and for what reasons. Shown, never searched.
  attribution       TEXT,

  UNIQUE (tenant_id, id),
  FOREIGN KEY (tenant_id, interaction_id) REFERENCES interactions (tenant_id, id),
  CHECK ((file_path IS NULL) = (size_bytes IS NULL)),
  CHECK ((file_path IS NULL) = (file_format IS NULL)),
  CHECK ((file_path IS NULL) = (sample_rate_hz IS NULL))
) STRICT;

-- Pages are read newest first: of all tenants, of one, of one reason.
CREATE INDEX calls_by_time ON calls (started_at);
CREATE INDEX calls_by_tenant ON calls (tenant_id, started_at);
CREATE INDEX calls_by_disposition ON calls (tenant_id, disposition, started_at);
CREATE INDEX calls_by_interaction ON calls (tenant_id, interaction_id, started_at) WHERE interaction_id IS NOT NULL;

-- A number is looked for in both its forms. Most are the same in both, and are indexed once.
CREATE INDEX calls_by_caller ON calls (tenant_id, caller_normalised, started_at);
CREATE INDEX calls_by_callee ON calls (tenant_id, callee_normalised, started_at);
CREATE INDEX calls_by_caller_as_seen ON calls (tenant_id, caller_number, started_at)
  WHERE caller_number <> caller_normalised;
CREATE INDEX calls_by_callee_as_seen ON calls (tenant_id, callee_number, started_at)
  WHERE callee_number <> callee_normalised;

-- Who of the tenant took part in a call. Tenant and start are the call's own, repeated for the indexes.
CREATE TABLE participants (
  call_row   INTEGER NOT NULL REFERENCES calls (call_row) ON DELETE CASCADE,
  -- From 0, in the order they were given in.
  ordinal    INTEGER NOT NULL,
  tenant_id  BLOB NOT NULL,
  started_at INTEGER NOT NULL,
  side       TEXT NOT NULL CHECK (side IN ('caller', 'callee')),
  user_name  TEXT,
  extension  TEXT,
  number     TEXT NOT NULL,
  display    TEXT NOT NULL,
  PRIMARY KEY (call_row, ordinal)
) STRICT, WITHOUT ROWID;

CREATE INDEX participants_by_user ON participants (tenant_id, user_name, started_at) WHERE user_name IS NOT NULL;
CREATE INDEX participants_by_extension ON participants (tenant_id, extension, started_at) WHERE extension IS NOT NULL;
