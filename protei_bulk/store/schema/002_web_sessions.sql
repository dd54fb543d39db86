-- Logins in the portal, and the TOTP codes that were used.

-- A token is good while its row says so: a refresh moves token_id on, a logout sets revoked_at.
CREATE TABLE tbl_web_sessions (
    session_id    VARCHAR(64) PRIMARY KEY,
    user_id       BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_id      VARCHAR(64) NOT NULL,
    previous_id   VARCHAR(64) NOT NULL DEFAULT '',
    rotated_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    ip_address    INET,
    user_agent    VARCHAR(255),
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at    TIMESTAMPTZ NOT NULL,
    revoked_at    TIMESTAMPTZ
);
CREATE INDEX tbl_web_sessions_user ON tbl_web_sessions (user_id);
CREATE INDEX tbl_web_sessions_expires ON tbl_web_sessions (expires_at);

-- The newest 30-second step whose code an account has used: neither it nor an older one counts again.
CREATE TABLE tbl_totp_used (
    user_id    BIGINT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    last_step  BIGINT NOT NULL
);

-- A login notes its time in users: that alone must not make the nodes read the account again.
DROP TRIGGER users_changed ON users;
CREATE TRIGGER users_added AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION notify_account_change();
CREATE TRIGGER users_changed AFTER UPDATE ON users FOR EACH ROW
    WHEN (NEW.last_login_at IS NOT DISTINCT FROM OLD.last_login_at) EXECUTE FUNCTION notify_account_change();

-- Whoever sets a password ends the logins made with the old one.
CREATE FUNCTION end_web_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tbl_web_sessions SET revoked_at = now() WHERE user_id = NEW.id AND revoked_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER users_password_changed AFTER UPDATE OF password_hash, status ON users FOR EACH ROW
    WHEN (NEW.password_hash <> OLD.password_hash OR NEW.status <> 'ACTIVE') EXECUTE FUNCTION end_web_sessions();
