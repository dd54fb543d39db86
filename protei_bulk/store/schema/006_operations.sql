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

-- Accepting: as before, with service_type and shown_id, and the queue's new columns.
CREATE OR REPLACE FUNCTION accept_messages(p_charges JSON, p_rows JSON, p_queued BOOLEAN) RETURNS JSON LANGUAGE plpgsql AS $$
DECLARE
    r RECORD;
    quota_limit INTEGER;
    refused_ids TEXT[] := '{}';
    refused_json JSONB := '{}';
    ids TEXT[];
    left_over BIGINT;
    funds NUMERIC;
    taken RECORD;
BEGIN
    FOR r IN SELECT u, min(c) AS c, d, sum(n) AS n
             FROM json_to_recordset(p_charges) AS x (u BIGINT, c BIGINT, d DATE, n INTEGER) GROUP BY u, d ORDER BY u, d LOOP
        SELECT max_msg_per_day INTO quota_limit FROM users WHERE id = r.u;
        UPDATE tbl_quota_usage SET messages_sent = messages_sent + r.n
        WHERE user_id = r.u AND period_date = r.d AND period_type = 'DAILY' AND period_hour = 0
          AND (quota_limit = 0 OR messages_sent + r.n <= quota_limit);
        CONTINUE WHEN FOUND;
        INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type) VALUES (r.u, r.c, r.d, 'DAILY') ON CONFLICT DO NOTHING;
        SELECT CASE WHEN quota_limit = 0 THEN 9223372036854775807 ELSE quota_limit - messages_sent END INTO left_over FROM tbl_quota_usage
        WHERE user_id = r.u AND period_date = r.d AND period_type = 'DAILY' AND period_hour = 0 FOR UPDATE;
        WITH running AS (
            SELECT i, s, sum(s) OVER (ORDER BY i COLLATE "C") AS upto
            FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, s INTEGER) WHERE x.u = r.u
        ) SELECT array_agg(i) FILTER (WHERE upto > left_over) AS out, COALESCE(sum(s) FILTER (WHERE upto <= left_over), 0) AS n INTO taken FROM running;
        UPDATE tbl_quota_usage SET messages_sent = messages_sent + taken.n
        WHERE user_id = r.u AND period_date = r.d AND period_type = 'DAILY' AND period_hour = 0;
        IF taken.out IS NOT NULL THEN
            refused_ids := refused_ids || taken.out;
            refused_json := refused_json || (SELECT jsonb_object_agg(id, 'Q') FROM unnest(taken.out) AS id);
        END IF;
    END LOOP;

    FOR r IN SELECT c, sum(a) AS a FROM json_to_recordset(p_charges) AS x (c BIGINT, a NUMERIC) WHERE a > 0 GROUP BY c ORDER BY c LOOP
        IF refused_ids = '{}' THEN
            UPDATE customers SET balance = balance - r.a WHERE id = r.c AND balance + credit_limit >= r.a;
            CONTINUE WHEN FOUND;
        END IF;
        SELECT balance + credit_limit INTO funds FROM customers WHERE id = r.c FOR UPDATE;
        WITH running AS (
            SELECT x.i, x.s, x.u, x.d8, COALESCE(x.p, 0) AS p, sum(COALESCE(x.p, 0)) OVER (ORDER BY x.i COLLATE "C") AS upto
            FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, s INTEGER, p NUMERIC, d8 DATE)
            JOIN users ON users.id = x.u AND users.customer_id = r.c
            WHERE x.i <> ALL (refused_ids)
        ) SELECT array_agg(i) FILTER (WHERE upto > funds AND p > 0) AS out, COALESCE(sum(p) FILTER (WHERE upto <= funds), 0) AS a INTO taken FROM running;
        UPDATE customers SET balance = balance - taken.a WHERE id = r.c;
        IF taken.out IS NOT NULL THEN
            ids := taken.out;
            refused_ids := refused_ids || ids;
            refused_json := refused_json || (SELECT jsonb_object_agg(id, 'B') FROM unnest(ids) AS id);
            -- The quota that these took goes back; the rows are locked by us already.
            UPDATE tbl_quota_usage q SET messages_sent = q.messages_sent - g.n
            FROM (SELECT x.u, x.d8, sum(x.s)::int AS n FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, s INTEGER, d8 DATE)
                  WHERE x.i = ANY (ids) GROUP BY x.u, x.d8) g
            WHERE q.user_id = g.u AND q.period_date = g.d8 AND q.period_type = 'DAILY' AND q.period_hour = 0;
        END IF;
    END LOOP;

    IF refused_ids = '{}' THEN
        INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status, smsc_id,
                payload, udh, data_coding, esm_class, protocol_id, registered_delivery, addr_types, priority, segments, price, tlvs, dlr_url, valid_until,
                service_type, shown_id)
        SELECT x.i, x.k, x.u, x.f, x.t, x.x, x.h, x.z, x.q, decode(x.b, 'hex'), decode(x.l, 'hex'), COALESCE(x.d, 0), COALESCE(x.e, 0), COALESCE(x.pi, 0),
               COALESCE(x.r, 0), x.o, COALESCE(x.y, 1), x.s, COALESCE(x.p, 0), x.tl, x.du, to_timestamp(x.v), x.st, x.si
        FROM json_to_recordset(p_rows) AS x (i TEXT, k BIGINT, u BIGINT, f TEXT, t TEXT, x TEXT, h TEXT, z TEXT, q TEXT, b TEXT, l TEXT, d SMALLINT, e SMALLINT,
               pi SMALLINT, r SMALLINT, o INTEGER, y SMALLINT, s SMALLINT, p NUMERIC, tl JSONB, du TEXT, v DOUBLE PRECISION, st TEXT, si TEXT);
        INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted)
        SELECT u, k, m FROM json_to_recordset(p_charges) AS x (u BIGINT, k BIGINT, m INTEGER);
    ELSE
        INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status, smsc_id,
                payload, udh, data_coding, esm_class, protocol_id, registered_delivery, addr_types, priority, segments, price, tlvs, dlr_url, valid_until,
                service_type, shown_id)
        SELECT x.i, x.k, x.u, x.f, x.t, x.x, x.h, x.z, x.q, decode(x.b, 'hex'), decode(x.l, 'hex'), COALESCE(x.d, 0), COALESCE(x.e, 0), COALESCE(x.pi, 0),
               COALESCE(x.r, 0), x.o, COALESCE(x.y, 1), x.s, COALESCE(x.p, 0), x.tl, x.du, to_timestamp(x.v), x.st, x.si
        FROM json_to_recordset(p_rows) AS x (i TEXT, k BIGINT, u BIGINT, f TEXT, t TEXT, x TEXT, h TEXT, z TEXT, q TEXT, b TEXT, l TEXT, d SMALLINT, e SMALLINT,
               pi SMALLINT, r SMALLINT, o INTEGER, y SMALLINT, s SMALLINT, p NUMERIC, tl JSONB, du TEXT, v DOUBLE PRECISION, st TEXT, si TEXT)
        WHERE x.i <> ALL (refused_ids);
        INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted)
        SELECT u, k, count(*) FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, k BIGINT) WHERE x.i <> ALL (refused_ids) GROUP BY u, k;
    END IF;
    IF p_queued THEN
        INSERT INTO tbl_message_queue (message_id, smsc_id, priority, due_at, expires_at, match_key)
        SELECT x.i, x.q, COALESCE(x.y, 1), CASE WHEN x.w > 0 THEN to_timestamp(x.w) ELSE now() END, to_timestamp(x.v), queue_key(x.u, x.f, x.t)
        FROM json_to_recordset(p_rows) AS x (i TEXT, q TEXT, y SMALLINT, w DOUBLE PRECISION, v DOUBLE PRECISION, u BIGINT, f TEXT, t TEXT)
        WHERE x.w IS NOT NULL AND x.i <> ALL (refused_ids);
    END IF;
    RETURN CASE WHEN refused_json = '{}' THEN NULL ELSE refused_json::json END;
END $$;

-- Moving on: as before, and when the state became final.
CREATE OR REPLACE FUNCTION advance_messages(p_rows JSON, p_node INTEGER, p_journal_id BIGINT, p_journal TEXT,
                                 p_outbox JSON, p_callbacks JSON, p_dequeue JSON, p_parts JSON) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    changed INTEGER := 0;
BEGIN
    -- The journal row is what tells a batch that comes again, after a COMMIT whose answer was lost.
    IF p_journal IS NOT NULL THEN
        INSERT INTO tbl_forward_journal (node_id, journal_id, receipts) VALUES (p_node, p_journal_id, p_journal) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN -1;
        END IF;
    END IF;
    IF p_rows IS NOT NULL THEN
        WITH moved AS (
            UPDATE messages m SET status = x.z,
                   smsc_id = COALESCE(x.q, m.smsc_id), smpp_msg_id = COALESCE(x.x, m.smpp_msg_id),
                   sent_at = CASE WHEN x.x IS NOT NULL THEN now() ELSE m.sent_at END,
                   dlr_status = COALESCE(x.d, m.dlr_status), error_code = COALESCE(x.e, m.error_code),
                   delivered_at = CASE WHEN x.z = 'DELIVERED' THEN now() ELSE m.delivered_at END,
                   ended_at = CASE WHEN x.z IN ('SENT', 'QUEUED') THEN m.ended_at ELSE now() END
            FROM json_to_recordset(p_rows) AS x (i TEXT, z TEXT, q TEXT, x TEXT, d TEXT, e TEXT)
            WHERE m.message_id = x.i
              AND m.status IN ('PENDING', 'QUEUED', 'SENT', 'SCHEDULED')
              AND (x.x IS NULL OR m.smpp_msg_id IS DISTINCT FROM x.x)
            RETURNING m.user_id, m.campaign_id, x.z, x.x IS NOT NULL AS just_sent, m.sent_at IS NULL AS unsent
        )
        INSERT INTO tbl_counter_delta (user_id, campaign_id, sent, delivered, failed, failed_unsent)
        SELECT user_id, campaign_id, count(*) FILTER (WHERE just_sent), count(*) FILTER (WHERE z = 'DELIVERED'),
               count(*) FILTER (WHERE z NOT IN ('DELIVERED', 'SENT', 'QUEUED')), count(*) FILTER (WHERE z NOT IN ('DELIVERED', 'SENT', 'QUEUED') AND unsent)
        FROM moved GROUP BY user_id, campaign_id;
        GET DIAGNOSTICS changed = ROW_COUNT;
    END IF;
    IF p_outbox IS NOT NULL THEN
        INSERT INTO tbl_deliver_outbox (user_id, kind, message_id, stat, err, payload)
        SELECT u, COALESCE(k, 'RECEIPT'), i, s, e, p FROM json_to_recordset(p_outbox) AS x (u BIGINT, k TEXT, i TEXT, s TEXT, e TEXT, p JSONB);
    END IF;
    IF p_callbacks IS NOT NULL THEN
        INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload)
        SELECT u, i, w, p FROM json_to_recordset(p_callbacks) AS x (u BIGINT, i TEXT, w TEXT, p JSONB);
    END IF;
    IF p_dequeue IS NOT NULL THEN
        DELETE FROM tbl_message_queue q USING json_array_elements_text(p_dequeue) AS i WHERE q.message_id = i;
    END IF;
    IF p_parts IS NOT NULL THEN
        INSERT INTO message_parts (message_id, part, smsc_id, smpp_msg_id, status, dlr_status, error_code)
        SELECT i, n, q, x, z, d, e FROM json_to_recordset(p_parts) AS x (i TEXT, n SMALLINT, q TEXT, x TEXT, z TEXT, d TEXT, e TEXT)
        ON CONFLICT (message_id, part) DO UPDATE SET
            status = CASE WHEN message_parts.status = 'SENT' THEN EXCLUDED.status ELSE message_parts.status END, smsc_id = COALESCE(EXCLUDED.smsc_id, message_parts.smsc_id),
            smpp_msg_id = COALESCE(EXCLUDED.smpp_msg_id, message_parts.smpp_msg_id), dlr_status = COALESCE(EXCLUDED.dlr_status, message_parts.dlr_status),
            error_code = COALESCE(EXCLUDED.error_code, message_parts.error_code);
    END IF;
    RETURN changed;
END $$;

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

-- Ends messages that nobody holds any more: taken out of a lane, or claimed for the purpose. What they cost goes back, their receipts
-- go to the outboxes. p_rows: [{i id, z status, d receipt state, o whether the ESME wants a receipt, w callback address, p its payload}].
-- Returns {id: status} of all, as it is now: the same call twice does no harm.
CREATE FUNCTION end_withdrawn(p_rows JSON) RETURNS JSON LANGUAGE plpgsql AS $$
DECLARE
    ended TEXT[];
    r RECORD;
BEGIN
    WITH held AS MATERIALIZED (
        SELECT m.message_id FROM messages m JOIN json_to_recordset(p_rows) AS x (i TEXT) ON m.message_id = x.i
        WHERE m.status IN ('PENDING', 'QUEUED', 'SCHEDULED') AND m.sent_at IS NULL ORDER BY m.message_id FOR UPDATE OF m
    ) SELECT array_agg(message_id) INTO ended FROM held;
    IF ended IS NOT NULL THEN
        FOR r IN SELECT u.customer_id AS c, sum(m.price) AS a FROM messages m JOIN users u ON u.id = m.user_id
                 WHERE m.message_id = ANY (ended) AND m.price > 0 GROUP BY 1 ORDER BY 1 LOOP
            UPDATE customers SET balance = balance + r.a WHERE id = r.c;
        END LOOP;
        WITH gone AS (
            UPDATE messages m SET status = x.z, dlr_status = x.d, price = 0, ended_at = now()
            FROM json_to_recordset(p_rows) AS x (i TEXT, z TEXT, d TEXT) WHERE m.message_id = x.i AND m.message_id = ANY (ended)
            RETURNING m.user_id, m.campaign_id
        ) INSERT INTO tbl_counter_delta (user_id, campaign_id, failed, failed_unsent)
        SELECT user_id, campaign_id, count(*), count(*) FROM gone GROUP BY 1, 2;
        DELETE FROM tbl_message_queue WHERE message_id = ANY (ended);
        INSERT INTO tbl_deliver_outbox (user_id, message_id, stat, err)
        SELECT m.user_id, m.message_id, x.d, '' FROM json_to_recordset(p_rows) AS x (i TEXT, d TEXT, o BOOLEAN)
        JOIN messages m ON m.message_id = x.i WHERE x.o AND x.i = ANY (ended) ORDER BY m.message_id;
        INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload)
        SELECT m.user_id, m.message_id, x.w, x.p FROM json_to_recordset(p_rows) AS x (i TEXT, w TEXT, p JSONB)
        JOIN messages m ON m.message_id = x.i WHERE x.w IS NOT NULL AND x.i = ANY (ended) ORDER BY m.message_id;
    END IF;
    RETURN (SELECT json_object_agg(m.message_id, m.status) FROM messages m JOIN json_to_recordset(p_rows) AS x (i TEXT) ON m.message_id = x.i);
END $$;

-- Replaces the content of a message that nobody holds any more. p: {i id, x text, b octets or null, s segments, p price, r registered_delivery,
-- v valid until, d day of the quota, w due}. Without w it goes back into memory; with it, into the queue table, for anybody.
-- Returns K done, F no longer waiting, Q quota, B balance. The same call twice does no harm.
CREATE FUNCTION replace_message(p JSON) RETURNS TEXT LANGUAGE plpgsql AS $$
DECLARE
    n RECORD;
    old RECORD;
    more INTEGER;
    dearer NUMERIC;
    due TIMESTAMPTZ;
BEGIN
    SELECT * INTO n FROM json_to_record(p) AS x (i TEXT, x TEXT, b TEXT, s INTEGER, p NUMERIC, r SMALLINT, v DOUBLE PRECISION, d DATE, w DOUBLE PRECISION);
    SELECT m.segments, m.price, m.user_id, m.smsc_id, m.priority, m.from_addr, m.to_addr, u.customer_id, u.max_msg_per_day INTO old
    FROM messages m JOIN users u ON u.id = m.user_id
    WHERE m.message_id = n.i AND m.status IN ('PENDING', 'QUEUED', 'SCHEDULED') AND m.sent_at IS NULL FOR UPDATE OF m;
    IF NOT FOUND THEN
        RETURN 'F';
    END IF;
    more := GREATEST(0, n.s - old.segments);
    dearer := n.p - old.price;
    IF more > 0 THEN
        INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type) VALUES (old.user_id, old.customer_id, n.d, 'DAILY') ON CONFLICT DO NOTHING;
        UPDATE tbl_quota_usage SET messages_sent = messages_sent + more
        WHERE user_id = old.user_id AND period_date = n.d AND period_type = 'DAILY' AND period_hour = 0
          AND (old.max_msg_per_day = 0 OR messages_sent + more <= old.max_msg_per_day);
        IF NOT FOUND THEN
            RETURN 'Q';
        END IF;
    END IF;
    IF dearer <> 0 THEN
        UPDATE customers SET balance = balance - dearer WHERE id = old.customer_id AND (dearer < 0 OR balance + credit_limit >= dearer);
        IF NOT FOUND THEN
            UPDATE tbl_quota_usage SET messages_sent = messages_sent - more
            WHERE more > 0 AND user_id = old.user_id AND period_date = n.d AND period_type = 'DAILY' AND period_hour = 0;
            RETURN 'B';
        END IF;
    END IF;
    due := to_timestamp(n.w);
    UPDATE messages SET message_text = n.x, payload = decode(n.b, 'hex'), segments = n.s, price = n.p, registered_delivery = n.r,
           valid_until = to_timestamp(n.v), status = CASE WHEN due > now() THEN 'SCHEDULED' ELSE 'QUEUED' END
    WHERE message_id = n.i;
    IF due IS NULL THEN
        UPDATE tbl_message_queue SET expires_at = to_timestamp(n.v) WHERE message_id = n.i;
    ELSE
        INSERT INTO tbl_message_queue (message_id, smsc_id, priority, due_at, expires_at, match_key)
        VALUES (n.i, old.smsc_id, old.priority, due, to_timestamp(n.v), queue_key(old.user_id, old.from_addr, old.to_addr))
        ON CONFLICT (message_id) DO UPDATE SET due_at = EXCLUDED.due_at, expires_at = EXCLUDED.expires_at, claimed_by = NULL, claimed_at = NULL;
    END IF;
    RETURN 'K';
END $$;
