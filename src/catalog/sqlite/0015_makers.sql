-- Who made a webhook, or last changed it: a user or a service account. It is told what they may see, and while they may. Null where it
-- was written before this was kept: nobody answers for it until it is changed.
ALTER TABLE webhooks ADD COLUMN maker_id BLOB;
ALTER TABLE webhooks ADD COLUMN maker TEXT;

-- Somebody whose calls are confidential has part in it.
ALTER TABLE deliveries ADD COLUMN confidential INTEGER NOT NULL DEFAULT 0 CHECK (confidential IN (0, 1));
