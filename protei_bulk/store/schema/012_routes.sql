-- Rules of routing, networks, ported numbers and costs in the database; the way of each message; what is routed anew.

CREATE TABLE tbl_routes (
    route_id            BIGSERIAL PRIMARY KEY,
    name                VARCHAR(64) NOT NULL UNIQUE,
    position            INTEGER NOT NULL DEFAULT 100,          -- `order` of a [[route]]: both kinds stand in one order
    enabled             BOOLEAN NOT NULL DEFAULT TRUE,
    match               JSONB NOT NULL DEFAULT '{}',           -- as [route.match]
    targets             JSONB NOT NULL DEFAULT '[]',           -- `to`
    strategy            VARCHAR(20) NOT NULL DEFAULT 'failover',
    weights             JSONB NOT NULL DEFAULT '[]',
    price               NUMERIC(18, 6) NOT NULL DEFAULT 0,     -- of a segment; 0: the rate deck's
    rewrite             JSONB NOT NULL DEFAULT '{}',           -- as [route.rewrite]
    reject              VARCHAR(40) NOT NULL DEFAULT '',
    next_after_receipt  BOOLEAN NOT NULL DEFAULT FALSE,
    created_at          TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at          TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Which network a number belongs to: by the longest prefix, unless it was ported.
CREATE TABLE tbl_networks (
    prefix   VARCHAR(20) COLLATE "C" PRIMARY KEY CHECK (prefix ~ '^[0-9]+$'),
    mccmnc   VARCHAR(6) NOT NULL CHECK (mccmnc ~ '^[0-9]{5,6}$'),
    name     VARCHAR(100) NOT NULL DEFAULT '',
    country  VARCHAR(100) NOT NULL DEFAULT ''
);

CREATE TABLE tbl_ported_numbers (
    number  BIGINT PRIMARY KEY CHECK (number > 0),
    mccmnc  VARCHAR(6) NOT NULL CHECK (mccmnc ~ '^[0-9]{5,6}$')
);

-- What the operator pays for a segment: to a network, to a prefix, or (both empty) to everybody.
CREATE TABLE tbl_smsc_costs (
    cost_id     BIGSERIAL PRIMARY KEY,
    smsc_id     VARCHAR(64) NOT NULL,
    mccmnc      VARCHAR(6) NOT NULL DEFAULT '' CHECK (mccmnc ~ '^([0-9]{3}|[0-9]{5,6})?$'),
    prefix      VARCHAR(20) NOT NULL DEFAULT '' CHECK (prefix ~ '^[0-9]*$'),
    cost        NUMERIC(18, 6) NOT NULL CHECK (cost >= 0),
    currency    VARCHAR(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    valid_from  TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
    CHECK (mccmnc = '' OR prefix = ''),
    UNIQUE (smsc_id, mccmnc, prefix, valid_from)
);

-- Every node has these in memory: once a statement, tell them which table changed.
CREATE FUNCTION notify_routes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('protei_routes', TG_TABLE_NAME::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tbl_routes_changed AFTER INSERT OR UPDATE OR DELETE ON tbl_routes FOR EACH STATEMENT EXECUTE FUNCTION notify_routes();
CREATE TRIGGER tbl_networks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tbl_networks FOR EACH STATEMENT EXECUTE FUNCTION notify_routes();
CREATE TRIGGER tbl_ported_numbers_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tbl_ported_numbers
    FOR EACH STATEMENT EXECUTE FUNCTION notify_routes();
CREATE TRIGGER tbl_smsc_costs_changed AFTER INSERT OR UPDATE OR DELETE ON tbl_smsc_costs FOR EACH STATEMENT EXECUTE FUNCTION notify_routes();

-- How each node sees each SMSC of its configuration, and what share of the messages it sent there was delivered.
CREATE TABLE tbl_smsc_states (
    node_id     SMALLINT NOT NULL,
    smsc_id     VARCHAR(64) NOT NULL,
    state       VARCHAR(10) NOT NULL CHECK (state IN ('BOUND', 'DOWN', 'DEGRADED', 'PROBING')),
    since       TIMESTAMPTZ NOT NULL DEFAULT now(),
    delivered   DOUBLE PRECISION NOT NULL DEFAULT 0,           -- decayed counts, as of updated_at
    finished    DOUBLE PRECISION NOT NULL DEFAULT 0,
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (node_id, smsc_id)
) WITH (fillfactor = 50);

-- The rule that chose the way of a message, and the SMSCs that took it in vain: "SMSC:STAT:ERR", a word each.
ALTER TABLE messages
    ADD COLUMN route  VARCHAR(64),
    ADD COLUMN tried  TEXT;
ALTER TABLE users ADD COLUMN tags JSONB NOT NULL DEFAULT '[]';  -- rules of routing may ask for them
ALTER TABLE tbl_message_queue ADD COLUMN refusals SMALLINT NOT NULL DEFAULT 0;  -- how often an SMSC refused it for a while

-- Rows of the queue: as in 006, but an end that whoever puts it there knows stays.
CREATE OR REPLACE FUNCTION prepare_queue_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.ready := NEW.due_at <= now();
    IF NEW.match_key IS NULL THEN
        SELECT queue_key(m.user_id, m.from_addr, m.to_addr), COALESCE(m.valid_until, NEW.expires_at) INTO NEW.match_key, NEW.expires_at
        FROM messages m WHERE m.message_id = NEW.message_id;
    END IF;
    RETURN NEW;
END $$;

-- Messages that an SMSC took in vain wait under the name * until they are given to another one; whoever sent them hears nothing yet.
-- p_rows: [{i message, q that SMSC, w the word for messages.tried}]. Once a message and SMSC, however often it is called.
CREATE FUNCTION route_again(p_rows JSON) RETURNS VOID LANGUAGE sql AS $$
    WITH again AS (
        UPDATE messages m SET tried = concat_ws(' ', m.tried, x.w), parts = NULL
        FROM json_to_recordset(p_rows) AS x (i TEXT, q TEXT, w TEXT)
        WHERE m.message_id = x.i AND m.status = 'SENT' AND m.smsc_id = x.q AND position(' ' || x.q || ':' IN ' ' || COALESCE(m.tried, '')) = 0
        RETURNING m.message_id, m.priority
    ), gone AS (
        DELETE FROM message_parts p USING again WHERE p.message_id = again.message_id
    )
    INSERT INTO tbl_message_queue (message_id, smsc_id, priority) SELECT message_id, '*', priority FROM again
    ON CONFLICT (message_id) DO UPDATE SET smsc_id = '*', due_at = now(), claimed_by = NULL, claimed_at = NULL
$$;

-- Rows that a node has claimed go to the queues of other SMSCs. p_rows: [{i message, q SMSC, r rule where it is another, w due time in
-- Unix seconds where it is another}].
CREATE FUNCTION move_queued(p_rows JSON, p_node INTEGER) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    moved INTEGER;
BEGIN
    UPDATE messages m SET route = x.r FROM json_to_recordset(p_rows) AS x (i TEXT, r TEXT) WHERE x.r IS NOT NULL AND m.message_id = x.i;
    UPDATE tbl_message_queue q SET due_at = to_timestamp(x.w) FROM json_to_recordset(p_rows) AS x (i TEXT, w DOUBLE PRECISION)
    WHERE x.w IS NOT NULL AND q.message_id = x.i AND q.claimed_by = p_node;
    UPDATE tbl_message_queue q SET smsc_id = x.q, claimed_by = NULL, claimed_at = NULL FROM json_to_recordset(p_rows) AS x (i TEXT, q TEXT)
    WHERE q.message_id = x.i AND q.claimed_by = p_node;
    GET DIAGNOSTICS moved = ROW_COUNT;
    RETURN moved;
END $$;

-- The SMSCs for which something is due: one look into the index for each, however much waits.
CREATE FUNCTION queued_smscs() RETURNS SETOF TEXT LANGUAGE sql STABLE AS $$
    WITH RECURSIVE soon (id) AS (
        (SELECT smsc_id FROM tbl_message_queue WHERE claimed_by IS NULL AND ready ORDER BY smsc_id LIMIT 1)
        UNION ALL
        SELECT (SELECT q.smsc_id FROM tbl_message_queue q WHERE q.claimed_by IS NULL AND q.ready AND q.smsc_id > soon.id ORDER BY q.smsc_id LIMIT 1)
        FROM soon WHERE soon.id IS NOT NULL
    ), later (id) AS (
        (SELECT smsc_id FROM tbl_message_queue WHERE claimed_by IS NULL AND NOT ready ORDER BY smsc_id LIMIT 1)
        UNION ALL
        SELECT (SELECT q.smsc_id FROM tbl_message_queue q WHERE q.claimed_by IS NULL AND NOT q.ready AND q.smsc_id > later.id ORDER BY q.smsc_id LIMIT 1)
        FROM later WHERE later.id IS NOT NULL
    )
    SELECT id::text FROM soon WHERE id IS NOT NULL
    UNION
    SELECT id::text FROM later WHERE id IS NOT NULL
      AND (SELECT min(q.due_at) FROM tbl_message_queue q WHERE q.claimed_by IS NULL AND NOT q.ready AND q.smsc_id = later.id) <= now()
$$;

-- Of an SMSC that nobody reaches: what is due by now stands with what was due when it came.
CREATE FUNCTION ripen_queue(p_smsc TEXT, p_most INTEGER) RETURNS VOID LANGUAGE sql AS $$
    UPDATE tbl_message_queue SET due_at = now() WHERE message_id IN (
        SELECT message_id FROM tbl_message_queue WHERE smsc_id = p_smsc AND claimed_by IS NULL AND NOT ready AND due_at <= now()
        ORDER BY due_at LIMIT p_most FOR UPDATE SKIP LOCKED)
$$;

-- What waits so long without having been tried that it is over: p_before is the smallest id that is young enough.
CREATE FUNCTION age_queue(p_before TEXT, p_hours INTEGER, p_most INTEGER) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    aged INTEGER;
BEGIN
    UPDATE tbl_message_queue SET expires_at = now() WHERE message_id IN (
        SELECT message_id FROM tbl_message_queue WHERE message_id < p_before AND claimed_by IS NULL AND expires_at IS NULL
        AND due_at < now() - make_interval(hours => p_hours) ORDER BY message_id LIMIT p_most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS aged = ROW_COUNT;
    RETURN aged;
END $$;
