-- What waits for an SMSC is claimed fairly: customers share by their weights within a priority. See docs/decisions/fair-claims.md.

ALTER TABLE tbl_message_queue ADD COLUMN owner BIGINT;   -- customers.id; 0 where the account is gone
UPDATE tbl_message_queue q SET owner = COALESCE((SELECT u.customer_id FROM messages m JOIN users u ON u.id = m.user_id WHERE m.message_id = q.message_id), 0);
ALTER TABLE tbl_message_queue ALTER COLUMN owner SET NOT NULL;
CREATE INDEX tbl_message_queue_fair ON tbl_message_queue (smsc_id, priority, owner, message_id) WHERE claimed_by IS NULL AND ready;

CREATE OR REPLACE FUNCTION prepare_queue_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    m RECORD;
BEGIN
    NEW.ready := NEW.due_at <= now();
    IF NEW.match_key IS NULL OR NEW.owner IS NULL THEN
        SELECT queue_key(x.user_id, x.from_addr, x.to_addr) AS key, x.valid_until, u.customer_id INTO m
        FROM messages x LEFT JOIN users u ON u.id = x.user_id WHERE x.message_id = NEW.message_id;
        IF NEW.match_key IS NULL THEN
            NEW.match_key := m.key;
            NEW.expires_at := COALESCE(m.valid_until, NEW.expires_at);
        END IF;
        NEW.owner := COALESCE(NEW.owner, m.customer_id, 0);
    END IF;
    RETURN NEW;
END $$;

-- Takes up to p_most due rows of an SMSC for a node. Those that waited for a time first, but no more than half while others are there; then
-- by priority, and within one a share for each customer who has some, by weight; what one does not use goes to the others.
-- Where to begin: p_due and p_due_id for those that waited for a time; for the others p_floors, by priority and customer. Customers whom those
-- do not name are looked for between those that they name: what is claimed already lies about there as long as somebody's snapshot sees it.
CREATE FUNCTION claim_queue(p_smsc TEXT, p_node INTEGER, p_mark BIGINT, p_most INTEGER, p_due TIMESTAMPTZ, p_due_id TEXT,
                            p_priorities SMALLINT[], p_owners BIGINT[], p_floors TEXT[])
RETURNS TABLE (o_id TEXT, o_priority SMALLINT, o_owner BIGINT, o_attempts SMALLINT, o_in_doubt BOOLEAN, o_refusals SMALLINT,
               o_expires TIMESTAMPTZ, o_due TIMESTAMPTZ) LANGUAGE plpgsql AS $$
DECLARE
    most_owners CONSTANT INTEGER := 1000;
    taken TEXT[] := '{}';
    got TEXT[];
    room INTEGER := p_most;
    owners BIGINT[];
    floors TEXT[];
    weights FLOAT8[];
    whole FLOAT8;
    upto FLOAT8;
    known RECORD;
    before BIGINT;
    found BIGINT;
    share INTEGER;
    total INTEGER;
    first INTEGER;
    k INTEGER;
BEGIN
    SELECT array_agg(message_id) INTO got FROM (
        SELECT message_id FROM tbl_message_queue WHERE smsc_id = p_smsc AND claimed_by IS NULL AND NOT ready AND due_at <= now()
          AND (due_at, message_id) >= (p_due, p_due_id) ORDER BY due_at, message_id LIMIT GREATEST(1, p_most / 2) FOR UPDATE SKIP LOCKED) x;
    IF got IS NOT NULL THEN
        taken := got;
        room := room - cardinality(got);
    END IF;
    FOR p IN REVERSE 3..0 LOOP
        EXIT WHEN room <= 0;
        owners := '{}';
        floors := '{}';
        before := -1;
        FOR known IN SELECT o, f FROM unnest(p_priorities, p_owners, p_floors) AS x (y, o, f) WHERE y = p
                     UNION ALL SELECT 9223372036854775807, NULL ORDER BY 1 LOOP
            LOOP
                SELECT q.owner INTO found FROM tbl_message_queue q
                WHERE q.smsc_id = p_smsc AND q.claimed_by IS NULL AND q.ready AND q.priority = p AND q.owner > before AND q.owner < known.o
                ORDER BY q.owner LIMIT 1;
                EXIT WHEN found IS NULL OR cardinality(owners) >= most_owners;
                owners := owners || found;
                floors := floors || ''::text;
                before := found;
            END LOOP;
            IF known.f IS NOT NULL THEN
                owners := owners || known.o;
                floors := floors || known.f;
                before := known.o;
            END IF;
        END LOOP;
        CONTINUE WHEN owners = '{}';
        SELECT array_agg(COALESCE(c.weight, 1)::float8 ORDER BY o.n) INTO weights
        FROM unnest(owners) WITH ORDINALITY AS o (id, n) LEFT JOIN customers c ON c.id = o.id;
        first := p_mark % cardinality(owners);
        LOOP
            SELECT sum(w) INTO whole FROM unnest(weights) AS w;
            EXIT WHEN room <= 0 OR whole = 0;
            total := room;
            upto := 0;
            FOR i IN 1..cardinality(owners) LOOP
                k := (first + i) % cardinality(owners) + 1;
                CONTINUE WHEN weights[k] = 0;
                share := round(total * (upto + weights[k]) / whole) - round(total * upto / whole);
                upto := upto + weights[k];
                CONTINUE WHEN share = 0;
                SELECT array_agg(message_id) INTO got FROM (
                    SELECT message_id FROM tbl_message_queue q WHERE q.smsc_id = p_smsc AND q.claimed_by IS NULL AND q.ready AND q.due_at <= now()
                      AND q.priority = p AND q.owner = owners[k] AND q.message_id >= floors[k] ORDER BY q.message_id LIMIT share FOR UPDATE SKIP LOCKED) x;
                IF got IS NULL OR cardinality(got) < share THEN
                    weights[k] := 0;  -- it has no more
                END IF;
                IF got IS NOT NULL THEN
                    taken := taken || got;
                    room := room - cardinality(got);
                    floors[k] := got[cardinality(got)] || ' ';  -- behind it
                END IF;
            END LOOP;
        END LOOP;
    END LOOP;
    IF room > 0 AND p_most - room >= GREATEST(1, p_most / 2) THEN
        SELECT array_agg(message_id) INTO got FROM (
            SELECT message_id FROM tbl_message_queue WHERE smsc_id = p_smsc AND claimed_by IS NULL AND NOT ready AND due_at <= now()
              AND (due_at, message_id) >= (p_due, p_due_id) AND message_id <> ALL (taken) ORDER BY due_at, message_id LIMIT room FOR UPDATE SKIP LOCKED) x;
        taken := taken || COALESCE(got, '{}');
    END IF;
    RETURN QUERY UPDATE tbl_message_queue q SET claimed_by = p_node, claimed_at = 'epoch'::timestamptz + p_mark * interval '1 microsecond'
        WHERE q.message_id = ANY (taken)
        RETURNING q.message_id::text, q.priority, q.owner, q.attempts, q.in_doubt, q.refusals, q.expires_at, CASE WHEN NOT q.ready THEN q.due_at END;
END $$;

-- As in 001, with money, campaigns and the customer of what waits.
CREATE OR REPLACE FUNCTION accept_messages(p_charges JSON, p_rows JSON, p_queued BOOLEAN, p_campaigns JSON DEFAULT NULL) RETURNS JSON LANGUAGE plpgsql AS $$
DECLARE
    r RECORD;
    quota_limit INTEGER;
    refused_ids TEXT[] := '{}';
    refused_json JSONB := '{}';
    ids TEXT[];
    left_over BIGINT;
    funds NUMERIC;
    taken RECORD;
    whole BOOLEAN;  -- nobody is refused
BEGIN
    IF p_campaigns IS NOT NULL THEN
        INSERT INTO campaigns (id, campaign_id, user_id, customer_id, submission_channel, name, sender_id, message_content, encoding, priority,
                dlr_callback_url, schedule_time, status)
        SELECT x.k, x.i, x.u, x.c, x.h, x.n, x.f, x.x, x.e, x.y, x.w, to_timestamp(x.s), x.z
        FROM json_to_recordset(p_campaigns) AS x (k BIGINT, i TEXT, u BIGINT, c BIGINT, h TEXT, n TEXT, f TEXT, x TEXT, e TEXT, y TEXT, w TEXT,
               s DOUBLE PRECISION, z TEXT)
        ON CONFLICT DO NOTHING;
    END IF;
    FOR r IN SELECT u, min(c) AS c, d, sum(n) AS n
             FROM json_to_recordset(p_charges) AS x (u BIGINT, c BIGINT, d DATE, n INTEGER) GROUP BY u, d ORDER BY u, d LOOP
        SELECT COALESCE(max_msg_per_day, 500000) INTO quota_limit FROM users WHERE id = r.u;  -- NULL is the column's default, not "none"
        UPDATE tbl_quota_usage SET messages_sent = messages_sent + r.n
        WHERE user_id = r.u AND period_date = r.d AND period_type = 'DAILY' AND period_hour = 0
          AND (quota_limit = 0 OR messages_sent + r.n <= quota_limit);
        CONTINUE WHEN FOUND;
        INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type) VALUES (r.u, r.c, r.d, 'DAILY') ON CONFLICT DO NOTHING;
        SELECT CASE WHEN quota_limit = 0 THEN 9223372036854775807 ELSE quota_limit - messages_sent END INTO left_over FROM tbl_quota_usage
        WHERE user_id = r.u AND period_date = r.d AND period_type = 'DAILY' AND period_hour = 0 FOR UPDATE;
        WITH running AS (
            SELECT i, s, sum(s) OVER (ORDER BY i COLLATE "C") AS upto
            FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, s INTEGER, k BIGINT)
            WHERE x.u = r.u AND x.k IN (SELECT y.k FROM json_to_recordset(p_charges) AS y (u BIGINT, d DATE, k BIGINT) WHERE y.u = r.u AND y.d = r.d)
        ) SELECT array_agg(i) FILTER (WHERE upto > left_over) AS out, COALESCE(sum(s) FILTER (WHERE upto <= left_over), 0) AS n INTO taken FROM running;
        UPDATE tbl_quota_usage SET messages_sent = messages_sent + taken.n
        WHERE user_id = r.u AND period_date = r.d AND period_type = 'DAILY' AND period_hour = 0;
        IF taken.out IS NOT NULL THEN
            refused_ids := refused_ids || taken.out;
            refused_json := refused_json || (SELECT jsonb_object_agg(id, 'Q') FROM unnest(taken.out) AS id);
        END IF;
    END LOOP;

    FOR r IN SELECT c, sum(a) AS a, COALESCE(sum(h), 0) AS h, COALESCE(sum(b), 0)::bigint AS n,
                    CASE WHEN min(k) = max(k) THEN 'campaign ' || min(k) ELSE max(d)::text END AS reference
             FROM json_to_recordset(p_charges) AS x (c BIGINT, a NUMERIC, h NUMERIC, b BIGINT, k BIGINT, d DATE) WHERE a > 0 GROUP BY c ORDER BY c LOOP
        IF refused_ids = '{}' THEN
            UPDATE customers SET balance = balance - r.a WHERE id = r.c AND balance + credit_limit >= r.a;
            IF FOUND THEN
                PERFORM book_taken(r.c, r.a, r.h, r.n, r.reference);
                CONTINUE;
            END IF;
        END IF;
        SELECT balance + credit_limit INTO funds FROM customers WHERE id = r.c FOR UPDATE;
        WITH running AS (
            SELECT x.i, x.ch, COALESCE(x.p, 0) AS p, sum(COALESCE(x.p, 0)) OVER (ORDER BY x.i COLLATE "C") AS upto
            FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, p NUMERIC, ch TEXT)
            JOIN users ON users.id = x.u AND users.customer_id = r.c
            WHERE x.i <> ALL (refused_ids)
        ) SELECT array_agg(i) FILTER (WHERE upto > funds AND p > 0) AS out, COALESCE(sum(p) FILTER (WHERE upto <= funds), 0) AS a,
                 COALESCE(sum(p) FILTER (WHERE upto <= funds AND ch IS NOT NULL), 0) AS h, count(*) FILTER (WHERE upto <= funds AND p > 0) AS n
          INTO taken FROM running;
        IF taken.a > 0 THEN
            UPDATE customers SET balance = balance - taken.a WHERE id = r.c;
            PERFORM book_taken(r.c, taken.a, taken.h, taken.n, r.reference);
        END IF;
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

    whole := refused_ids = '{}';
    INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status, smsc_id,
            payload, udh, data_coding, esm_class, protocol_id, registered_delivery, addr_types, priority, segments, price, tlvs, dlr_url, valid_until,
            service_type, shown_id, long_id, long_part, long_total, long_merged, route, charge)
    -- What few messages have stands together in "m": each column of a record costs every row, whether it is there or not.
    SELECT x.i, x.k, x.u, x.f, x.t, x.x, x.h, x.z, x.q, decode(x.m ->> 'b', 'hex'), decode(x.m ->> 'l', 'hex'), COALESCE((x.m ->> 'd')::smallint, 0),
           COALESCE((x.m ->> 'e')::smallint, 0), COALESCE((x.m ->> 'pi')::smallint, 0), COALESCE(x.r, 0), x.o, COALESCE((x.m ->> 'y')::smallint, 1), x.s,
           COALESCE((x.m ->> 'p')::numeric, 0), x.m -> 'tl', x.m ->> 'du', to_timestamp((x.m ->> 'v')::float8), x.m ->> 'st', x.m ->> 'si', x.m ->> 'li',
           (x.m ->> 'ln')::smallint, (x.m ->> 'lt')::smallint, (x.m ->> 'lm')::boolean, x.rt, x.m ->> 'ch'
    FROM json_to_recordset(p_rows) AS x (i TEXT, k BIGINT, u BIGINT, f TEXT, t TEXT, x TEXT, h TEXT, z TEXT, q TEXT, r SMALLINT, o INTEGER, s SMALLINT,
           rt TEXT, m JSONB)
    WHERE whole OR x.i <> ALL (refused_ids);
    IF whole THEN
        INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted, segments)
        SELECT u, k, m, n FROM json_to_recordset(p_charges) AS x (u BIGINT, k BIGINT, m INTEGER, n INTEGER);
    ELSE
        INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted, segments)
        SELECT u, k, count(*), sum(s) FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, k BIGINT, s INTEGER) WHERE x.i <> ALL (refused_ids) GROUP BY u, k;
    END IF;
    IF p_queued THEN
        INSERT INTO tbl_message_queue (message_id, smsc_id, priority, due_at, expires_at, match_key, owner)
        SELECT x.i, x.q, COALESCE(x.y, 1), CASE WHEN x.w > 0 THEN to_timestamp(x.w) ELSE now() END, to_timestamp(x.v), queue_key(x.u, x.f, x.t), o.c
        FROM json_to_recordset(p_rows) AS x (i TEXT, q TEXT, y SMALLINT, w DOUBLE PRECISION, v DOUBLE PRECISION, u BIGINT, f TEXT, t TEXT)
        LEFT JOIN (SELECT u, min(c) AS c FROM json_to_recordset(p_charges) AS y (u BIGINT, c BIGINT) GROUP BY u) o ON o.u = x.u
        WHERE x.w IS NOT NULL AND x.i <> ALL (refused_ids);
    END IF;
    RETURN CASE WHEN refused_json = '{}' THEN NULL ELSE refused_json::json END;
END $$;
