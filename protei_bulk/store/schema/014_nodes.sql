-- Several nodes on one database: a connector runs on one of them; what a dead one held goes to the others.

-- One life of a node has one epoch. Whoever takes over what it held raises it, and from then on the old life can store,
-- claim and queue nothing: fence().
ALTER TABLE tbl_nodes
    ADD COLUMN epoch    BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN gone_at  TIMESTAMPTZ;              -- since when it holds nothing: it ended in order, or others have taken it over

-- Who runs a connector, as "smsc:ID". `fencing` grows with each change of hands.
CREATE TABLE tbl_leases (
    resource  VARCHAR(80) COLLATE "C" PRIMARY KEY,
    node_id   SMALLINT NOT NULL,
    epoch     BIGINT NOT NULL,
    fencing   BIGINT NOT NULL DEFAULT 1,
    until     TIMESTAMPTZ NOT NULL,              -- -infinity: given back
    since     TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Statements of one life of a node hold this lock shared, whoever ends that life holds it alone: nothing of it commits afterwards.
CREATE FUNCTION node_lock(p_node INTEGER) RETURNS BIGINT LANGUAGE sql IMMUTABLE AS $$ SELECT (1604::bigint << 32) | p_node $$;

-- Goes before what a node writes. Raises PB001 where that life of it is over.
CREATE FUNCTION fence(p_node INTEGER, p_epoch BIGINT) RETURNS INTEGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(node_lock(p_node));
    IF NOT EXISTS (SELECT 1 FROM tbl_nodes WHERE node_id = p_node AND epoch = p_epoch) THEN
        RAISE EXCEPTION 'node % is fenced: another process has taken over what it held', p_node USING ERRCODE = 'PB001';
    END IF;
    RETURN p_node;
END $$;

-- A node starts: its number, by its name, and the epoch of its new life. A former life that still runs ends by that.
CREATE FUNCTION enter_node(p_name TEXT, OUT o_node INTEGER, OUT o_epoch BIGINT) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1604::bigint << 40);
    INSERT INTO tbl_nodes (node_id, name) SELECT COALESCE(max(node_id) + 1, 0), p_name FROM tbl_nodes ON CONFLICT (name) DO NOTHING;
    SELECT node_id INTO o_node FROM tbl_nodes WHERE name = p_name;
    PERFORM pg_advisory_xact_lock(node_lock(o_node));
    UPDATE tbl_nodes SET started_at = now(), heartbeat_at = now(), epoch = epoch + 1, gone_at = NULL WHERE node_id = o_node
    RETURNING epoch INTO o_epoch;
    PERFORM pg_notify('protei_leases', '');  -- the others are not alone any more
END $$;

-- Takes and renews leases, for so many seconds from now. What this node had in a former life is its own at once; what ran out, only
-- with p_take. Returns all that was asked for, with who holds it and for how many seconds, and how the holder sees that SMSC.
CREATE FUNCTION renew_leases(p_node INTEGER, p_epoch BIGINT, p_resources TEXT[], p_seconds DOUBLE PRECISION, p_take BOOLEAN)
RETURNS TABLE (o_resource TEXT, o_node INTEGER, o_fencing BIGINT, o_left DOUBLE PRECISION, o_state TEXT) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM fence(p_node, p_epoch);
    INSERT INTO tbl_leases AS l (resource, node_id, epoch, until)
    SELECT r, p_node, p_epoch, clock_timestamp() + make_interval(secs => p_seconds) FROM unnest(p_resources) AS r ORDER BY r
    ON CONFLICT (resource) DO UPDATE SET
        fencing = CASE WHEN l.node_id = p_node AND l.epoch = p_epoch AND l.until > '-infinity' THEN l.fencing ELSE l.fencing + 1 END,
        since = CASE WHEN l.node_id = p_node AND l.epoch = p_epoch AND l.until > '-infinity' THEN l.since ELSE now() END,
        node_id = p_node, epoch = p_epoch, until = clock_timestamp() + make_interval(secs => p_seconds)
    WHERE l.node_id = p_node OR l.until = '-infinity' OR (p_take AND l.until < clock_timestamp());
    RETURN QUERY SELECT l.resource::text, l.node_id::int, l.fencing,
        CASE WHEN l.until = '-infinity' THEN 0 ELSE extract(epoch FROM l.until - clock_timestamp())::float8 END,
        COALESCE(s.state, '')::text
    FROM tbl_leases l LEFT JOIN tbl_smsc_states s ON s.node_id = l.node_id AND s.smsc_id = substr(l.resource, 6) WHERE l.resource = ANY (p_resources);
END $$;

-- Gives leases back, and tells the others.
CREATE FUNCTION release_leases(p_node INTEGER, p_epoch BIGINT, p_resources TEXT[]) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tbl_leases SET until = '-infinity' WHERE node_id = p_node AND epoch = p_epoch AND resource = ANY (p_resources);
    IF FOUND THEN
        PERFORM pg_notify('protei_leases', '');
    END IF;
END $$;

-- A node ends in order and everything that it did is recorded: what waited in its memory goes to the queue, for the others.
CREATE FUNCTION leave_node(p_node INTEGER, p_epoch BIGINT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(node_lock(p_node));
    UPDATE tbl_nodes SET gone_at = now() WHERE node_id = p_node AND epoch = p_epoch;
    IF NOT FOUND THEN
        RETURN FALSE;
    END IF;
    PERFORM recover_node(p_node, '{}');
    UPDATE tbl_deliver_outbox SET held_by = NULL WHERE held_by = p_node;
    UPDATE tbl_leases SET until = '-infinity' WHERE node_id = p_node AND epoch = p_epoch;
    PERFORM pg_notify('protei_leases', '');
    RETURN TRUE;
END $$;

-- Another node is dead, as whoever calls this has seen for a while: its heartbeat is still p_heartbeat. What it held goes to the queue and
-- to the outboxes; p_hold as in recover_node(). Nothing happens where somebody else was faster, or it lives after all.
CREATE FUNCTION take_over_node(p_node INTEGER, p_epoch BIGINT, p_heartbeat TIMESTAMPTZ, p_hold TEXT[])
RETURNS TABLE (queued BIGINT, receipts BIGINT) LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock((1604::bigint << 40) | (p_node + 1)) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(node_lock(p_node));
    UPDATE tbl_nodes SET epoch = epoch + 1, gone_at = now()
    WHERE node_id = p_node AND epoch = p_epoch AND heartbeat_at = p_heartbeat AND gone_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM doubt_node(p_node);
    SELECT count(*) INTO queued FROM tbl_message_queue WHERE claimed_by = p_node;
    SELECT r.receipts INTO receipts FROM recover_node(p_node, p_hold) r;
    RETURN NEXT;
    UPDATE tbl_deliver_outbox SET held_by = NULL WHERE held_by = p_node;
    UPDATE tbl_smpp_sessions SET status = 'DISCONNECTED', unbound_at = now(), current_tps = 0
    WHERE node_id = p_node AND status <> 'DISCONNECTED';
    PERFORM pg_notify('protei_leases', '');
END $$;

-- The queue in parts, a day of message ids each. What a transaction that is open somewhere keeps in them, and what a backlog has made of
-- them, goes with the part once nothing waits in it any more.
ALTER TABLE tbl_message_queue RENAME TO tbl_message_queue_before;
CREATE TABLE tbl_message_queue (LIKE tbl_message_queue_before INCLUDING DEFAULTS) PARTITION BY RANGE (message_id);
CREATE TABLE tbl_message_queue_rest PARTITION OF tbl_message_queue DEFAULT  -- a second try days later; clocks that go wrong
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- Makes the parts of the next days, and drops those that are empty and get nothing any more. What somebody locks has time until the next call.
CREATE FUNCTION rotate_queue() RETURNS INTEGER LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
DECLARE
    today DATE := (now() AT TIME ZONE 'UTC')::date;
    day DATE;
    part TEXT;
    waiting BOOLEAN;
    dropped INTEGER := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7305804405) THEN
        RETURN 0;
    END IF;
    FOR i IN 0..2 LOOP
        day := today + i;
        part := 'tbl_message_queue_p' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE TABLE %I PARTITION OF tbl_message_queue FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = 70, '
                'autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0)',
                part, message_id_at(day::timestamp AT TIME ZONE 'UTC'), message_id_at((day + 1)::timestamp AT TIME ZONE 'UTC'));
        EXCEPTION WHEN lock_not_available OR check_violation THEN
            RAISE NOTICE 'no % yet', part;  -- its rows go to the rest meanwhile
        END;
    END LOOP;
    FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'tbl_message_queue'::regclass AND c.relkind = 'r' AND c.relname ~ '_p[0-9]{8}$' AND to_date(right(c.relname, 8), 'YYYYMMDD') < today LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', part) INTO waiting;
        CONTINUE WHEN waiting;
        BEGIN
            LOCK TABLE tbl_message_queue IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', part) INTO waiting;
            IF NOT waiting THEN
                EXECUTE format('DROP TABLE %I', part);
                dropped := dropped + 1;
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            RAISE NOTICE '% stays for now', part;
        END;
    END LOOP;
    RETURN dropped;
END $$;
SELECT rotate_queue();

INSERT INTO tbl_message_queue SELECT * FROM tbl_message_queue_before;
DROP TABLE tbl_message_queue_before;
ALTER TABLE tbl_message_queue ADD PRIMARY KEY (message_id);
CREATE INDEX tbl_message_queue_next ON tbl_message_queue (smsc_id, priority DESC, message_id) WHERE claimed_by IS NULL AND ready;
CREATE INDEX tbl_message_queue_due ON tbl_message_queue (smsc_id, due_at, message_id) WHERE claimed_by IS NULL AND NOT ready;
CREATE INDEX tbl_message_queue_expires ON tbl_message_queue (expires_at) WHERE expires_at IS NOT NULL AND claimed_by IS NULL;
CREATE INDEX tbl_message_queue_match ON tbl_message_queue (match_key);
CREATE INDEX tbl_message_queue_claimed ON tbl_message_queue (claimed_by) WHERE claimed_by IS NOT NULL;  -- by a node that died
CREATE TRIGGER tbl_message_queue_prepare BEFORE INSERT OR UPDATE OF due_at ON tbl_message_queue
    FOR EACH ROW EXECUTE FUNCTION prepare_queue_row();

ALTER TABLE customers ADD COLUMN weight NUMERIC(8, 3) NOT NULL DEFAULT 1 CHECK (weight > 0);  -- of its share of each SMSC

-- What waits for each of these SMSCs, and for how many seconds the oldest that is due. Exact up to p_most, beyond that the planner's guess.
CREATE FUNCTION queue_figures(p_smscs TEXT[], p_most INTEGER)
RETURNS TABLE (o_smsc TEXT, o_depth DOUBLE PRECISION, o_age DOUBLE PRECISION) LANGUAGE plpgsql AS $$
DECLARE
    plan JSON;
BEGIN
    FOREACH o_smsc IN ARRAY p_smscs LOOP
        SELECT count(*) INTO o_depth FROM (SELECT 1 FROM tbl_message_queue q WHERE q.smsc_id = o_smsc AND q.claimed_by IS NULL AND q.ready LIMIT p_most) x;
        SELECT o_depth + count(*) INTO o_depth
        FROM (SELECT 1 FROM tbl_message_queue q WHERE q.smsc_id = o_smsc AND q.claimed_by IS NULL AND NOT q.ready LIMIT p_most) x;
        IF o_depth >= p_most THEN
            EXECUTE format('EXPLAIN (FORMAT JSON) SELECT 1 FROM tbl_message_queue WHERE smsc_id = %L AND claimed_by IS NULL', o_smsc) INTO plan;
            o_depth := GREATEST(o_depth, (plan -> 0 -> 'Plan' ->> 'Plan Rows')::float8);
        END IF;
        SELECT COALESCE(extract(epoch FROM now() - min(x.due_at)), 0)::float8 INTO o_age FROM generate_series(0, 3) AS p
        CROSS JOIN LATERAL (SELECT q.due_at FROM tbl_message_queue q WHERE q.smsc_id = o_smsc AND q.claimed_by IS NULL AND q.ready
                            AND q.priority = p ORDER BY q.message_id LIMIT 1) x;
        RETURN NEXT;
    END LOOP;
END $$;
