-- Who took part from when to when, and which calls are one conversation.

-- Of the time that this one was on the side; none in rows of earlier versions.
ALTER TABLE participants ADD COLUMN from_at INTEGER;
ALTER TABLE participants ADD COLUMN to_at INTEGER;

-- JSON: the tenant's other calls that this one was found to belong to, each with its SIP Call-ID and the reason. Shown, never
-- searched: that is what interaction_id is for.
ALTER TABLE calls ADD COLUMN links TEXT;
