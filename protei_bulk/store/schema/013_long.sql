-- As before, with the place of a part in its long message.
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

    whole := refused_ids = '{}';
    INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status, smsc_id,
            payload, udh, data_coding, esm_class, protocol_id, registered_delivery, addr_types, priority, segments, price, tlvs, dlr_url, valid_until,
            service_type, shown_id, long_id, long_part, long_total, long_merged)
    SELECT x.i, x.k, x.u, x.f, x.t, x.x, x.h, x.z, x.q, decode(x.b, 'hex'), decode(x.l, 'hex'), COALESCE(x.d, 0), COALESCE(x.e, 0), COALESCE(x.pi, 0),
           COALESCE(x.r, 0), x.o, COALESCE(x.y, 1), x.s, COALESCE(x.p, 0), x.tl, x.du, to_timestamp(x.v), x.st, x.si, x.li, x.ln, x.lt, x.lm
    FROM json_to_recordset(p_rows) AS x (i TEXT, k BIGINT, u BIGINT, f TEXT, t TEXT, x TEXT, h TEXT, z TEXT, q TEXT, b TEXT, l TEXT, d SMALLINT, e SMALLINT,
           pi SMALLINT, r SMALLINT, o INTEGER, y SMALLINT, s SMALLINT, p NUMERIC, tl JSONB, du TEXT, v DOUBLE PRECISION, st TEXT, si TEXT, li TEXT, ln SMALLINT,
           lt SMALLINT, lm BOOLEAN)
    WHERE whole OR x.i <> ALL (refused_ids);
    IF whole THEN
        INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted)
        SELECT u, k, m FROM json_to_recordset(p_charges) AS x (u BIGINT, k BIGINT, m INTEGER);
    ELSE
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
