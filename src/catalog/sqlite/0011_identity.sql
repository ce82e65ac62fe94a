-- A login as it is compared: in small letters of every alphabet, not of the Latin one alone.
ALTER TABLE users ADD COLUMN login_key TEXT;

CREATE UNIQUE INDEX users_by_login_key ON users (tenant_id, login_key) WHERE login_key IS NOT NULL;
