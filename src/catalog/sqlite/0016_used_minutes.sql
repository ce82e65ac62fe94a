-- Minutes of a month that were recorded stay used when their calls go: by somebody's deletion, by their age, or with their files.

-- What of each month the calls had that are gone; `recorded` has the length of those that are not.
CREATE TABLE used_minutes (
  tenant_id BLOB NOT NULL,
  month     INTEGER NOT NULL,
  length_ms INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, month)
) STRICT, WITHOUT ROWID;

INSERT INTO used_minutes (tenant_id, month, length_ms)
SELECT tenant_id, CAST(strftime('%Y%m', started_at / 1000000000, 'unixepoch') AS INTEGER), sum(length_ms)
  FROM calls WHERE deleted_at IS NOT NULL GROUP BY 1, 2;

-- Calls that are deleted and whose files are not gone yet have room, and their minutes are above.
UPDATE recorded SET length_ms = length_ms - (
  SELECT coalesce(sum(c.length_ms), 0) FROM calls c
   WHERE c.deleted_at IS NOT NULL AND c.file_path IS NOT NULL AND c.tenant_id = recorded.tenant_id
     AND CAST(strftime('%Y%m', c.started_at / 1000000000, 'unixepoch') AS INTEGER) = recorded.month
);

DROP TRIGGER recording_removed;
CREATE TRIGGER recording_removed AFTER DELETE ON calls WHEN OLD.file_path IS NOT NULL
BEGIN
  UPDATE recorded
     SET recordings = recordings - 1, bytes = bytes - OLD.size_bytes,
         length_ms = length_ms - iif(OLD.deleted_at IS NULL, OLD.length_ms, 0)
   WHERE tenant_id = OLD.tenant_id
     AND month = CAST(strftime('%Y%m', OLD.started_at / 1000000000, 'unixepoch') AS INTEGER);
  INSERT INTO used_minutes (tenant_id, month, length_ms)
  SELECT OLD.tenant_id, CAST(strftime('%Y%m', OLD.started_at / 1000000000, 'unixepoch') AS INTEGER), OLD.length_ms
   WHERE OLD.deleted_at IS NULL
  ON CONFLICT (tenant_id, month) DO UPDATE SET length_ms = length_ms + excluded.length_ms;
END;

-- A row that is written again: what it was goes, what it is comes. Where it is deleted its minutes were used, and its room is free when its
-- files are gone.
DROP TRIGGER recording_changed;
CREATE TRIGGER recording_changed AFTER UPDATE OF file_path, size_bytes, length_ms, started_at, deleted_at ON calls
WHEN OLD.file_path IS NOT NEW.file_path OR OLD.size_bytes IS NOT NEW.size_bytes
  OR OLD.length_ms <> NEW.length_ms OR OLD.started_at <> NEW.started_at OR OLD.deleted_at IS NOT NEW.deleted_at
BEGIN
  UPDATE recorded
     SET recordings = recordings - 1, bytes = bytes - OLD.size_bytes,
         length_ms = length_ms - iif(OLD.deleted_at IS NULL, OLD.length_ms, 0)
   WHERE OLD.file_path IS NOT NULL AND tenant_id = OLD.tenant_id
     AND month = CAST(strftime('%Y%m', OLD.started_at / 1000000000, 'unixepoch') AS INTEGER);
  INSERT INTO recorded (tenant_id, month, recordings, bytes, length_ms)
  SELECT NEW.tenant_id, CAST(strftime('%Y%m', NEW.started_at / 1000000000, 'unixepoch') AS INTEGER), 1, NEW.size_bytes,
         iif(NEW.deleted_at IS NULL, NEW.length_ms, 0)
   WHERE NEW.file_path IS NOT NULL
  ON CONFLICT (tenant_id, month) DO UPDATE
     SET recordings = recordings + 1, bytes = bytes + excluded.bytes, length_ms = length_ms + excluded.length_ms;
  INSERT INTO used_minutes (tenant_id, month, length_ms)
  SELECT OLD.tenant_id, CAST(strftime('%Y%m', OLD.started_at / 1000000000, 'unixepoch') AS INTEGER), OLD.length_ms
   WHERE OLD.file_path IS NOT NULL AND OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL
  ON CONFLICT (tenant_id, month) DO UPDATE SET length_ms = length_ms + excluded.length_ms;
END;
