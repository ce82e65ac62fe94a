-- The secret that signs what is sent, sealed with a key that is not in the catalog, for the id of its webhook. Null where it was
-- written before there was such a thing: it is sealed at the next start, and `secret` is empty from then on.
ALTER TABLE webhooks ADD COLUMN sealed_secret BLOB;
