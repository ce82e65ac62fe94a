-- How much of a recording lies in pauses: somebody asked that it be not recorded.
ALTER TABLE calls ADD COLUMN paused_ms INTEGER NOT NULL DEFAULT 0 CHECK (paused_ms >= 0);
