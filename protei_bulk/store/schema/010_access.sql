-- Tokens, permissions, administration.

-- What tokens are signed with, each sealed under the nodes' secret.key. One without an end signs (the newest).
CREATE TABLE tbl_signing_keys (
    kid         VARCHAR(32) PRIMARY KEY,
    sealed      VARCHAR(255) NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at  TIMESTAMPTZ                          -- verifies no more; set by a rotation
);

-- HMACs under the nodes' secret: a code is shown once.
CREATE TABLE tbl_recovery_codes (
    user_id    BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_hash  VARCHAR(64) NOT NULL,
    used_at    TIMESTAMPTZ,
    PRIMARY KEY (user_id, code_hash)
);

-- Where accounts have come in from: strangers who guess at a password keep out strangers only.
CREATE TABLE tbl_known_addresses (
    user_id  BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    network  CIDR NOT NULL,
    seen_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, network)
);
CREATE INDEX tbl_known_addresses_seen ON tbl_known_addresses (seen_at);

-- What is deleted but has traffic stays in the books. Its name stays taken.
ALTER TABLE users DROP CONSTRAINT users_status_check;
ALTER TABLE users ADD CONSTRAINT users_status_check CHECK (status IN ('ACTIVE', 'SUSPENDED', 'DELETED'));
ALTER TABLE customers DROP CONSTRAINT customers_status_check;
ALTER TABLE customers ADD CONSTRAINT customers_status_check CHECK (status IN ('ACTIVE', 'SUSPENDED', 'DELETED'));

-- The same password under a higher cost is no new password: nobody is logged out.
CREATE FUNCTION rehash_password(p_user_id BIGINT, p_old TEXT, p_new TEXT, p_smpp TEXT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
DECLARE
    changed INTEGER;
BEGIN
    PERFORM set_config('protei.rehash', 'on', true);
    UPDATE users SET password_hash = p_new, smpp_password_hash = p_smpp WHERE id = p_user_id AND password_hash = p_old;
    GET DIAGNOSTICS changed = ROW_COUNT;
    PERFORM set_config('protei.rehash', 'off', true);
    RETURN changed > 0;
END $$;

CREATE OR REPLACE FUNCTION end_web_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'ACTIVE' AND current_setting('protei.rehash', true) = 'on' THEN
        RETURN NULL;
    END IF;
    UPDATE tbl_web_sessions SET revoked_at = now() WHERE user_id = NEW.id AND revoked_at IS NULL;
    RETURN NULL;
END $$;

-- The audit is read newest first: all of it, or what is about some users.
CREATE INDEX tbl_permission_audit_time ON tbl_permission_audit (created_at, audit_id);
CREATE INDEX tbl_permission_audit_user ON tbl_permission_audit (user_id, created_at);
CREATE INDEX tbl_api_requests_time ON tbl_api_requests (created_at, request_id);
CREATE INDEX tbl_api_requests_user ON tbl_api_requests (user_id, created_at);
