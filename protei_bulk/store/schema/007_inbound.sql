-- Messages from mobiles (MO): kept before they are acknowledged, put together, routed, told.

-- Partitioned by day on message_id ('MO-' and 12 characters, ordered by time) and dropped with retention.messages_days.
CREATE TABLE tbl_mo_messages (
    message_id    VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
    smsc_id       VARCHAR(64) NOT NULL,
    from_addr     VARCHAR(64) NOT NULL,
    to_addr       VARCHAR(64) NOT NULL,
    addr_types    INTEGER NOT NULL DEFAULT 0,           -- source TON, source NPI, dest TON, dest NPI: an octet each
    message_text  TEXT,                                 -- NULL where the octets are no text
    payload       BYTEA NOT NULL,                       -- the octets of all parts; GSM 03.38 unpacked where data_coding is 0
    udh           BYTEA,                                -- what its user data header says besides concatenation
    data_coding   SMALLINT NOT NULL DEFAULT 0,
    esm_class     SMALLINT NOT NULL DEFAULT 0,
    protocol_id   SMALLINT NOT NULL DEFAULT 0,
    tlvs          JSONB,
    reference     INTEGER,                              -- of the concatenation, as the mobile numbered it
    parts         SMALLINT NOT NULL DEFAULT 1,          -- that it consists of
    missing       SMALLINT NOT NULL DEFAULT 0,          -- of these, those that never came
    user_id       BIGINT,
    url           VARCHAR(500),
    rule          VARCHAR(64),
    status        VARCHAR(20) NOT NULL CHECK (status IN ('ROUTED', 'DELIVERED', 'REFUSED', 'PARKED', 'UNROUTED')),
    outstanding   SMALLINT NOT NULL DEFAULT 0,          -- of its ESME and its URL, those that have not got it yet
    error_code    VARCHAR(20),
    received_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    delivered_at  TIMESTAMPTZ
) PARTITION BY RANGE (message_id);
CREATE INDEX tbl_mo_messages_unrouted ON tbl_mo_messages (message_id) WHERE status = 'UNROUTED';

-- What an SMSC may send again, because it may not have our answer: a hash of all that tells messages apart.
CREATE TABLE tbl_mo_seen (
    digest      BYTEA PRIMARY KEY,
    message_id  VARCHAR(64) NOT NULL,
    seen_at     TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- Long messages of which parts are missing.
CREATE TABLE tbl_mo_sets (
    set_id      VARCHAR(64) COLLATE "C" PRIMARY KEY,    -- of its first part: the message_id of what it becomes
    smsc_id     VARCHAR(64) NOT NULL,
    from_addr   VARCHAR(64) NOT NULL,
    to_addr     VARCHAR(64) NOT NULL,
    kind        SMALLINT NOT NULL,                      -- where the reference stood: 8, 16 (bits of the header) or 0 (sar_* TLVs)
    reference   INTEGER NOT NULL,
    total       SMALLINT NOT NULL,
    have        SMALLINT NOT NULL DEFAULT 0,
    closed      BOOLEAN NOT NULL DEFAULT FALSE,         -- takes no more parts: its reference was used again
    started_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    touched_at  TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX tbl_mo_sets_open ON tbl_mo_sets (from_addr, to_addr, kind, reference, total) WHERE NOT closed;

CREATE TABLE tbl_mo_parts (
    set_id       VARCHAR(64) COLLATE "C" NOT NULL,
    number       SMALLINT NOT NULL,
    addr_types   INTEGER NOT NULL,
    data_coding  SMALLINT NOT NULL,
    esm_class    SMALLINT NOT NULL,
    protocol_id  SMALLINT NOT NULL,
    udh          BYTEA,
    body         BYTEA NOT NULL,
    tlvs         JSONB,
    received_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (set_id, number)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- Which node has a row in memory, so that an ESME bound to two nodes is not told twice.
ALTER TABLE tbl_deliver_outbox ADD COLUMN held_by SMALLINT;
ALTER TABLE tbl_deliver_outbox SET (fillfactor = 70);

-- How an account's ESMEs want long messages from mobiles: parts with a header, parts with sar_* TLVs, or message_payload.
ALTER TABLE users ADD COLUMN mo_form VARCHAR(10) NOT NULL DEFAULT 'udh' CHECK (mo_form IN ('udh', 'sar', 'payload'));

-- Which account has a number; which message an acknowledgement of an SME answers.
CREATE INDEX users_sender_ids ON users USING gin (allowed_sender_ids);
CREATE INDEX messages_user_reference ON messages (to_addr, (tlvs ->> '516')) WHERE tlvs ->> '516' IS NOT NULL;

-- Partitions --------------------------------------------------------------------------------------

CREATE FUNCTION ensure_mo_partitions(days_ahead INTEGER DEFAULT 3, days_back INTEGER DEFAULT 1) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    day DATE;
    name TEXT;
    made INTEGER := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7305804402);
    FOR i IN -days_back..days_ahead LOOP
        day := (now() AT TIME ZONE 'UTC')::date + i;
        name := 'tbl_mo_messages_p' || to_char(day, 'YYYYMMDD');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF tbl_mo_messages FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = 70)', name,
                'MO-' || substr(message_id_at(day::timestamp AT TIME ZONE 'UTC'), 5),
                'MO-' || substr(message_id_at((day + 1)::timestamp AT TIME ZONE 'UTC'), 5));
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;

-- Drops what is older than so many whole days; 0 keeps all.
CREATE FUNCTION drop_mo_partitions(days INTEGER) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    child TEXT;
    dropped INTEGER := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7305804402);
    FOR child IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'tbl_mo_messages'::regclass AND c.relname ~ '_p[0-9]{8}$' LOOP
        IF days > 0 AND to_date(right(child, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date - days THEN
            EXECUTE format('DROP TABLE %I', child);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;

SELECT ensure_mo_partitions(3, 1);

-- Storing -----------------------------------------------------------------------------------------

CREATE TYPE mo_row AS (
    i TEXT,                 -- message_id
    h TEXT,                 -- digest, in hex
    q TEXT,                 -- smsc_id
    f TEXT, t TEXT,         -- from, to
    o INTEGER,              -- addr_types
    tx TEXT,                -- text
    b TEXT, l TEXT,         -- body and header, in hex
    d SMALLINT, e SMALLINT, pi SMALLINT,
    tl JSONB,
    s SMALLINT, ms SMALLINT,            -- parts, missing
    rf INTEGER,                         -- reference
    k SMALLINT, n SMALLINT,             -- of a part: kind of its reference, number
    hv SMALLINT, si TEXT,               -- of a set: how many parts were read, and its id where the message has another
    rv DOUBLE PRECISION,                -- received, Unix seconds
    u BIGINT, un TEXT, ow BOOLEAN,      -- to whom: a user by id, by name, or whoever has the number
    w TEXT, cb JSONB,                   -- URL, and what is posted there
    ru TEXT                             -- the rule that said so
);

-- Which accounts can be told by SMPP.
CREATE FUNCTION may_smpp(u users) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE AS $$
    SELECT u.can_use_smpp IS NOT FALSE AND COALESCE(u.bind_type, 'BOTH') IN ('SMPP', 'BOTH')
$$;

-- What the outbox keeps of a message: all that its deliver_sm needs.
CREATE FUNCTION mo_payload(f TEXT, t TEXT, o INTEGER, b TEXT, l TEXT, d SMALLINT, e SMALLINT, pi SMALLINT, tl JSONB, rf INTEGER)
RETURNS JSONB LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('f', f, 't', t, 'o', o, 'b', b, 'l', l, 'd', d, 'e', e, 'pi', pi, 'tl', tl, 'rf', rf))
$$;

-- Stores whole messages of p_rows (those in p_ids) with what is to be told of them.
-- Returns {users: [those with something in the outbox], calls, routed, unrouted}.
CREATE FUNCTION mo_store(p_rows JSON, p_ids TEXT[]) RETURNS JSON LANGUAGE sql AS $$
    WITH x AS MATERIALIZED (
        SELECT * FROM json_populate_recordset(NULL::mo_row, p_rows) AS r WHERE r.i = ANY (p_ids)
    ), owned AS (
        SELECT n.t, min(u.id) AS id FROM (SELECT DISTINCT t FROM x WHERE x.ow) n
        JOIN users u ON u.allowed_sender_ids @> jsonb_build_array(n.t) GROUP BY n.t HAVING count(*) = 1
    ), whom AS (
        SELECT x.i, COALESCE(x.u, named.id, owned.id) AS id
        FROM x LEFT JOIN users named ON named.username = x.un LEFT JOIN owned ON owned.t = x.t AND x.ow
    ), target AS MATERIALIZED (
        SELECT x.*, account.id AS account, account.id IS NOT NULL AND may_smpp(account) AS esme
        FROM x JOIN whom ON whom.i = x.i LEFT JOIN users account ON account.id = whom.id
    ), stored AS (
        INSERT INTO tbl_mo_messages (message_id, smsc_id, from_addr, to_addr, addr_types, message_text, payload, udh, data_coding, esm_class,
            protocol_id, tlvs, reference, parts, missing, user_id, url, rule, status, outstanding, received_at)
        SELECT i, q, f, t, COALESCE(o, 0), tx, decode(b, 'hex'), decode(l, 'hex'), COALESCE(d, 0), COALESCE(e, 0), COALESCE(pi, 0), tl, rf,
            COALESCE(s, 1), COALESCE(ms, 0), account, w, ru, CASE WHEN esme OR w IS NOT NULL THEN 'ROUTED' ELSE 'UNROUTED' END,
            esme::int + (w IS NOT NULL)::int, to_timestamp(rv)
        FROM target ON CONFLICT DO NOTHING RETURNING message_id
    ), fresh AS MATERIALIZED (
        SELECT target.* FROM target JOIN stored ON stored.message_id = target.i
    ), outbox AS (
        INSERT INTO tbl_deliver_outbox (user_id, kind, message_id, payload)
        SELECT account, 'MO', i, mo_payload(f, t, o, b, l, d, e, pi, tl, rf) FROM fresh WHERE esme ORDER BY i
    ), calls AS (
        INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload)
        SELECT COALESCE(account, 0), i, w, cb FROM fresh WHERE w IS NOT NULL ORDER BY i
    )
    SELECT json_build_object('users', COALESCE(json_agg(DISTINCT account) FILTER (WHERE esme), '[]'), 'calls', count(w),
        'routed', count(*) FILTER (WHERE esme OR w IS NOT NULL), 'unrouted', count(*) FILTER (WHERE NOT esme AND w IS NULL)) FROM fresh
$$;

-- A batch as it came: whole messages are stored, parts are put to their sets; what was seen before is left out.
-- p_seconds: how long a set waits for its parts. Returns what mo_store() does, and {fresh: how many were new, complete: [set_id]}.
CREATE FUNCTION mo_receive(p_rows JSON, p_parts BOOLEAN, p_seconds DOUBLE PRECISION) RETURNS JSONB LANGUAGE plpgsql AS $$
DECLARE
    fresh TEXT[];
    whole TEXT[];
    complete TEXT[];
    answer JSONB;
BEGIN
    -- Ordered: two nodes that store the same messages must not wait for each other.
    WITH told AS (
        INSERT INTO tbl_mo_seen AS s (digest, message_id)
        SELECT decode(r.h, 'hex'), r.i FROM json_populate_recordset(NULL::mo_row, p_rows) AS r ORDER BY r.h
        ON CONFLICT (digest) DO UPDATE SET message_id = EXCLUDED.message_id, seen_at = now() WHERE s.seen_at < now() - interval '5 minutes'
        RETURNING s.message_id
    ) SELECT COALESCE(array_agg(message_id), '{}') INTO fresh FROM told;
    whole := fresh;
    IF p_parts THEN
        SELECT COALESCE(array_agg(r.i), '{}') INTO whole FROM json_populate_recordset(NULL::mo_row, p_rows) AS r
        WHERE r.n IS NULL AND r.i = ANY (fresh);
        complete := mo_receive_parts(p_rows, fresh, p_seconds);
    END IF;
    answer := mo_store(p_rows, whole)::jsonb;
    RETURN answer || jsonb_build_object('fresh', cardinality(fresh), 'complete', COALESCE(to_jsonb(complete), '[]'));
END $$;

-- Puts parts to their sets, making those that lack; the sets that are complete now. The rows of the sets stay locked
-- until the commit, so parts of one message that two nodes store at once are counted one after the other.
CREATE FUNCTION mo_receive_parts(p_rows JSON, p_ids TEXT[], p_seconds DOUBLE PRECISION) RETURNS TEXT[] LANGUAGE plpgsql AS $$
DECLARE
    complete TEXT[];
BEGIN
    -- A set that nobody has given up yet takes no part of a later message.
    UPDATE tbl_mo_sets s SET closed = TRUE FROM json_populate_recordset(NULL::mo_row, p_rows) AS r
    WHERE r.n IS NOT NULL AND r.i = ANY (p_ids) AND NOT s.closed AND s.started_at < now() - make_interval(secs => p_seconds)
      AND (s.from_addr, s.to_addr, s.kind, s.reference, s.total) = (r.f, r.t, r.k, r.rf, r.s);
    FOR attempt IN 1..2 LOOP
        INSERT INTO tbl_mo_sets AS s (set_id, smsc_id, from_addr, to_addr, kind, reference, total)
        SELECT DISTINCT ON (r.f, r.t, r.k, r.rf, r.s) r.i, r.q, r.f, r.t, r.k, r.rf, r.s
        FROM json_populate_recordset(NULL::mo_row, p_rows) AS r WHERE r.n IS NOT NULL AND r.i = ANY (p_ids)
        ORDER BY r.f, r.t, r.k, r.rf, r.s, r.i
        ON CONFLICT (from_addr, to_addr, kind, reference, total) WHERE NOT closed DO UPDATE SET touched_at = now();
        -- The same number with other octets: the mobile has begun again under the same reference.
        UPDATE tbl_mo_sets s SET closed = TRUE
        FROM json_populate_recordset(NULL::mo_row, p_rows) AS r, tbl_mo_parts p
        WHERE r.n IS NOT NULL AND r.i = ANY (p_ids) AND NOT s.closed
          AND (s.from_addr, s.to_addr, s.kind, s.reference, s.total) = (r.f, r.t, r.k, r.rf, r.s)
          AND p.set_id = s.set_id AND p.number = r.n AND p.body <> decode(r.b, 'hex');
        EXIT WHEN NOT FOUND;
    END LOOP;
    INSERT INTO tbl_mo_parts (set_id, number, addr_types, data_coding, esm_class, protocol_id, udh, body, tlvs, received_at)
    SELECT s.set_id, r.n, COALESCE(r.o, 0), COALESCE(r.d, 0), COALESCE(r.e, 0), COALESCE(r.pi, 0), decode(r.l, 'hex'), decode(r.b, 'hex'), r.tl,
           to_timestamp(r.rv)
    FROM json_populate_recordset(NULL::mo_row, p_rows) AS r JOIN tbl_mo_sets s
      ON NOT s.closed AND (s.from_addr, s.to_addr, s.kind, s.reference, s.total) = (r.f, r.t, r.k, r.rf, r.s)
    WHERE r.n IS NOT NULL AND r.i = ANY (p_ids)
    ON CONFLICT DO NOTHING;
    WITH touched AS (
        SELECT DISTINCT s.set_id FROM json_populate_recordset(NULL::mo_row, p_rows) AS r JOIN tbl_mo_sets s
          ON NOT s.closed AND (s.from_addr, s.to_addr, s.kind, s.reference, s.total) = (r.f, r.t, r.k, r.rf, r.s)
        WHERE r.n IS NOT NULL AND r.i = ANY (p_ids)
    ), counted AS (
        UPDATE tbl_mo_sets s SET have = (SELECT count(*) FROM tbl_mo_parts p WHERE p.set_id = s.set_id)
        FROM touched WHERE s.set_id = touched.set_id RETURNING s.set_id, s.have, s.total
    ) SELECT array_agg(set_id ORDER BY set_id) FILTER (WHERE have >= total) INTO complete FROM counted;
    RETURN complete;
END $$;

-- Stores what became of sets, and forgets their parts. One that another node has finished, or that got a part after it was read, is left.
CREATE FUNCTION mo_finish(p_rows JSON) RETURNS JSON LANGUAGE plpgsql AS $$
DECLARE
    mine TEXT[];
BEGIN
    WITH gone AS (
        DELETE FROM tbl_mo_sets s USING json_populate_recordset(NULL::mo_row, p_rows) AS r
        WHERE s.set_id = COALESCE(r.si, r.i) AND s.have = r.hv RETURNING s.set_id, r.i
    ), parts AS (
        DELETE FROM tbl_mo_parts p USING gone WHERE p.set_id = gone.set_id
    ) SELECT COALESCE(array_agg(gone.i), '{}') INTO mine FROM gone;
    RETURN mo_store(p_rows, mine);
END $$;

-- The sets to finish: complete ones that nobody has finished, those that have waited too long, the oldest where there are too many parts.
CREATE FUNCTION mo_due(p_seconds DOUBLE PRECISION, p_parts BIGINT, p_most INTEGER) RETURNS TABLE (set_id TEXT) LANGUAGE sql STABLE AS $$
    WITH held AS (
        SELECT s.set_id, s.closed OR s.started_at < now() - make_interval(secs => p_seconds)
            OR (s.have >= s.total AND s.touched_at < now() - interval '5 seconds') AS due,
            sum(s.have) OVER (ORDER BY s.set_id DESC) > p_parts AS too_many
        FROM tbl_mo_sets s
    ) SELECT held.set_id::text FROM held WHERE due OR too_many ORDER BY held.set_id LIMIT p_most
$$;

-- Telling -----------------------------------------------------------------------------------------

-- ESMEs have answered: [{o outbox_id, s command_status}].
CREATE FUNCTION mo_told(p_rows JSON) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    told INTEGER;
BEGIN
    WITH gone AS (
        DELETE FROM tbl_deliver_outbox o USING json_to_recordset(p_rows) AS r (o BIGINT, s BIGINT) WHERE o.outbox_id = r.o
        RETURNING o.message_id, r.s
    )
    UPDATE tbl_mo_messages m SET outstanding = GREATEST(0, m.outstanding - 1),
        status = CASE WHEN g.s <> 0 THEN 'REFUSED' WHEN m.outstanding <= 1 AND m.status = 'ROUTED' THEN 'DELIVERED' ELSE m.status END,
        error_code = CASE WHEN g.s <> 0 THEN g.s::text ELSE m.error_code END,
        delivered_at = CASE WHEN g.s = 0 THEN now() ELSE m.delivered_at END
    FROM gone g WHERE m.message_id = g.message_id;
    GET DIAGNOSTICS told = ROW_COUNT;
    RETURN told;
END $$;

-- What becomes of a callback shows in its message. Receipts pay one comparison.
CREATE FUNCTION mo_called() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE tbl_mo_messages SET outstanding = GREATEST(0, outstanding - 1), delivered_at = now(),
            status = CASE WHEN outstanding <= 1 AND status = 'ROUTED' THEN 'DELIVERED' ELSE status END WHERE message_id = OLD.message_id;
    ELSIF NEW.status = 'PARKED' THEN
        UPDATE tbl_mo_messages SET status = 'PARKED' WHERE message_id = NEW.message_id;
    ELSE
        UPDATE tbl_mo_messages SET status = 'ROUTED' WHERE message_id = NEW.message_id AND status = 'PARKED';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER callback_of_mo_done AFTER DELETE ON tbl_callback_outbox FOR EACH ROW
    WHEN (OLD.message_id LIKE 'MO-%' AND OLD.status = 'PENDING') EXECUTE FUNCTION mo_called();
CREATE TRIGGER callback_of_mo_parked AFTER UPDATE OF status ON tbl_callback_outbox FOR EACH ROW
    WHEN (NEW.message_id LIKE 'MO-%' AND OLD.status <> NEW.status) EXECUTE FUNCTION mo_called();

-- Sends a message to another user, or another URL, or once more; what still waits for the former ones goes. NULL where there is none.
CREATE FUNCTION mo_route(p_id TEXT, p_user BIGINT, p_url TEXT, p_call JSONB) RETURNS TEXT LANGUAGE plpgsql AS $$
DECLARE
    m tbl_mo_messages;
BEGIN
    SELECT * INTO m FROM tbl_mo_messages WHERE message_id = p_id FOR UPDATE;
    IF m.message_id IS NULL THEN
        RETURN NULL;
    END IF;
    DELETE FROM tbl_deliver_outbox WHERE message_id = p_id AND kind = 'MO' AND user_id = m.user_id;
    DELETE FROM tbl_callback_outbox WHERE message_id = p_id;
    UPDATE tbl_mo_messages SET user_id = p_user, url = p_url, rule = NULL, status = 'ROUTED', error_code = NULL, delivered_at = NULL,
        outstanding = 1 WHERE message_id = p_id;
    IF p_url IS NOT NULL THEN
        INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload) VALUES (COALESCE(p_user, 0), p_id, p_url, p_call);
    ELSE
        INSERT INTO tbl_deliver_outbox (user_id, kind, message_id, payload)
        VALUES (p_user, 'MO', p_id, mo_payload(m.from_addr, m.to_addr, m.addr_types, encode(m.payload, 'hex'), encode(m.udh, 'hex'),
            m.data_coding, m.esm_class, m.protocol_id, m.tlvs, m.reference));
    END IF;
    RETURN m.status;
END $$;
