-- query, cancel, replace; ids as an ESME was given them; what waits is found by sender and recipient, and expires in time.

ALTER TABLE messages
    ADD COLUMN service_type VARCHAR(5),               -- SMPP's, carried through
    ADD COLUMN shown_id     VARCHAR(64) COLLATE "C",  -- the id that the ESME was given, where it is not message_id
    ADD COLUMN ended_at     TIMESTAMPTZ;              -- since when the state is final
CREATE INDEX messages_shown_id ON messages (shown_id) WHERE shown_id IS NOT NULL;

-- SMPP 3.3 knows ids of eight hexadecimal digits. A node takes a block at a time.
CREATE SEQUENCE short_message_ids INCREMENT BY 16384 MINVALUE 1 MAXVALUE 4294950000 CYCLE;

ALTER TABLE users
    ADD COLUMN outbind_host      VARCHAR(255),
    ADD COLUMN outbind_port      INTEGER CHECK (outbind_port BETWEEN 1 AND 65535),
    ADD COLUMN outbind_password  VARCHAR(8);          -- sent as it is: SMPP 3.4 section 4.1.7.1
CREATE INDEX users_outbind ON users (id) WHERE outbind_host IS NOT NULL;

-- The queue: rows that are not due lie apart, so that a claim does not walk over a million schedules each second.
ALTER TABLE tbl_message_queue
    ADD COLUMN ready       BOOLEAN NOT NULL DEFAULT TRUE,   -- was due when it came here
    ADD COLUMN in_doubt    BOOLEAN NOT NULL DEFAULT FALSE,  -- an SMSC may have it: never to be called cancelled
    ADD COLUMN expires_at  TIMESTAMPTZ,                     -- messages.valid_until
    ADD COLUMN match_key   BIGINT;                          -- queue_key()
DROP INDEX tbl_message_queue_next;
CREATE INDEX tbl_message_queue_next ON tbl_message_queue (smsc_id, priority DESC, message_id) WHERE claimed_by IS NULL AND ready;
CREATE INDEX tbl_message_queue_due ON tbl_message_queue (smsc_id, due_at) WHERE claimed_by IS NULL AND NOT ready;
CREATE INDEX tbl_message_queue_expires ON tbl_message_queue (expires_at) WHERE expires_at IS NOT NULL AND claimed_by IS NULL;
CREATE INDEX tbl_message_queue_match ON tbl_message_queue (match_key);

CREATE FUNCTION queue_key(p_user_id BIGINT, p_from TEXT, p_to TEXT) RETURNS BIGINT LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT hashtextextended(p_user_id || '/' || p_from || '/' || p_to, 0)
$$;

CREATE FUNCTION prepare_queue_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.ready := NEW.due_at <= now();
    IF NEW.match_key IS NULL THEN
        SELECT queue_key(m.user_id, m.from_addr, m.to_addr), m.valid_until INTO NEW.match_key, NEW.expires_at
        FROM messages m WHERE m.message_id = NEW.message_id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tbl_message_queue_prepare BEFORE INSERT OR UPDATE OF due_at ON tbl_message_queue
    FOR EACH ROW EXECUTE FUNCTION prepare_queue_row();
UPDATE tbl_message_queue SET due_at = due_at;

-- Before recover_node() after a crash: what this node held may have gone out.
CREATE FUNCTION doubt_node(p_node INTEGER) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    alphabet CONSTANT TEXT := '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
    mark TEXT := substr(alphabet, (p_node >> 5) + 1, 1) || substr(alphabet, (p_node & 31) + 1, 1);
    since TEXT;
BEGIN
    SELECT low_water INTO since FROM tbl_nodes WHERE node_id = p_node;
    UPDATE tbl_message_queue SET in_doubt = TRUE WHERE claimed_by = p_node;
    INSERT INTO tbl_message_queue (message_id, smsc_id, priority, in_doubt, claimed_by)
    SELECT m.message_id, m.smsc_id, m.priority, TRUE, p_node FROM messages m
    WHERE m.message_id >= since AND m.status = 'QUEUED' AND substr(m.message_id, 13, 2) = mark
      AND NOT EXISTS (SELECT 1 FROM tbl_message_queue q WHERE q.message_id = m.message_id);
END $$;

