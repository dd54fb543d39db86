-- Acceptance and progress: the newest bodies of accept_messages(), advance_messages() and roll_up_counters() are here.

-- Takes quota and money and stores a batch, all or nothing but for those whose quota or balance is short.
-- p_charges: [{u user, c customer, d day, n segments, a amount, k campaign, m messages}], one a user and campaign.
-- p_rows: the messages; p_queued: whether some wait in the queue table (w: due time in Unix seconds, or 0).
-- p_campaigns: [{k, i campaign_id, u, c, h channel, n name, f sender, x content, e encoding, y priority, w dlr_url, s schedule, z status}]
-- that may not exist yet: a request and its messages are one commit.
-- Returns {"message_id": "Q" | "B", ...} for those refused (quota, balance), or NULL.
DROP FUNCTION accept_messages(JSON, JSON, BOOLEAN);
CREATE FUNCTION accept_messages(p_charges JSON, p_rows JSON, p_queued BOOLEAN, p_campaigns JSON DEFAULT NULL) RETURNS JSON LANGUAGE plpgsql AS $$
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
            service_type, shown_id)
    SELECT x.i, x.k, x.u, x.f, x.t, x.x, x.h, x.z, x.q, decode(x.b, 'hex'), decode(x.l, 'hex'), COALESCE(x.d, 0), COALESCE(x.e, 0), COALESCE(x.pi, 0),
           COALESCE(x.r, 0), x.o, COALESCE(x.y, 1), x.s, COALESCE(x.p, 0), x.tl, x.du, to_timestamp(x.v), x.st, x.si
    FROM json_to_recordset(p_rows) AS x (i TEXT, k BIGINT, u BIGINT, f TEXT, t TEXT, x TEXT, h TEXT, z TEXT, q TEXT, b TEXT, l TEXT, d SMALLINT, e SMALLINT,
           pi SMALLINT, r SMALLINT, o INTEGER, y SMALLINT, s SMALLINT, p NUMERIC, tl JSONB, du TEXT, v DOUBLE PRECISION, st TEXT, si TEXT)
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

-- Moves a batch of messages on and leaves what must be told to the customer, in one transaction.
-- p_rows: [{i id, z new status, q smsc, x SMSC's id (where it was just sent), d receipt state, e error}]. What may follow what is
-- model/lifecycle.py; tests compare the two. A message counts as sent once, however often and wherever it goes.
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
                   sent_at = CASE WHEN x.x IS NOT NULL THEN COALESCE(m.sent_at, now()) ELSE m.sent_at END,
                   dlr_status = COALESCE(x.d, m.dlr_status), error_code = COALESCE(x.e, m.error_code),
                   delivered_at = CASE WHEN x.z = 'DELIVERED' THEN now() ELSE m.delivered_at END,
                   ended_at = CASE WHEN x.z IN ('SENT', 'QUEUED', 'SCHEDULED') THEN m.ended_at ELSE now() END
            FROM json_to_recordset(p_rows) AS x (i TEXT, z TEXT, q TEXT, x TEXT, d TEXT, e TEXT)
            WHERE m.message_id = x.i
              AND m.status IN ('PENDING', 'QUEUED', 'SENT', 'SCHEDULED')
              AND CASE x.z WHEN 'PENDING' THEN FALSE WHEN 'SCHEDULED' THEN m.status = 'PENDING' WHEN 'QUEUED' THEN m.status IN ('PENDING', 'SCHEDULED') ELSE TRUE END
              AND (x.x IS NULL OR m.smpp_msg_id IS DISTINCT FROM x.x)
            RETURNING m.user_id, m.campaign_id, x.z, x.x IS NOT NULL AND m.sent_at = now() AS just_sent, m.sent_at IS NULL AS unsent
        )
        INSERT INTO tbl_counter_delta (user_id, campaign_id, sent, delivered, failed, failed_unsent)
        SELECT user_id, campaign_id, count(*) FILTER (WHERE just_sent), count(*) FILTER (WHERE z = 'DELIVERED'),
               count(*) FILTER (WHERE z NOT IN ('DELIVERED', 'SENT', 'QUEUED', 'SCHEDULED')), count(*) FILTER (WHERE z NOT IN ('DELIVERED', 'SENT', 'QUEUED', 'SCHEDULED') AND unsent)
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

-- Their senders were told that they are not stored, and they were stored all the same: as if they had never been. Quota and money go back.
-- Only what nobody has sent; returns how many.
CREATE FUNCTION disown_messages(p_ids JSON) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    mine TEXT[];
    r RECORD;
BEGIN
    WITH held AS MATERIALIZED (
        SELECT m.message_id FROM messages m JOIN json_array_elements_text(p_ids) AS i ON m.message_id = i
        WHERE m.status IN ('PENDING', 'QUEUED', 'SCHEDULED') AND m.sent_at IS NULL ORDER BY m.message_id FOR UPDATE OF m
    ) SELECT array_agg(message_id) INTO mine FROM held;
    IF mine IS NULL THEN
        RETURN 0;
    END IF;
    FOR r IN SELECT m.user_id, (m.submitted_at AT TIME ZONE u.timezone)::date AS d, sum(m.segments)::int AS n
             FROM messages m JOIN users u ON u.id = m.user_id WHERE m.message_id = ANY (mine) GROUP BY 1, 2 ORDER BY 1, 2 LOOP
        UPDATE tbl_quota_usage SET messages_sent = GREATEST(0, messages_sent - r.n)
        WHERE user_id = r.user_id AND period_date = r.d AND period_type = 'DAILY' AND period_hour = 0;
    END LOOP;
    FOR r IN SELECT u.customer_id AS c, sum(m.price) AS a FROM messages m JOIN users u ON u.id = m.user_id
             WHERE m.message_id = ANY (mine) AND m.price > 0 GROUP BY 1 ORDER BY 1 LOOP
        UPDATE customers SET balance = balance + r.a WHERE id = r.c;
    END LOOP;
    DELETE FROM tbl_message_queue WHERE message_id = ANY (mine);
    WITH gone AS (
        UPDATE messages m SET status = 'REJECTED', dlr_status = 'REJECTD', error_code = 'NOTSTORED', price = 0, ended_at = now()
        WHERE m.message_id = ANY (mine) RETURNING m.user_id, m.campaign_id
    ) INSERT INTO tbl_counter_delta (user_id, campaign_id, failed, failed_unsent)
    SELECT user_id, campaign_id, count(*), count(*) FROM gone GROUP BY 1, 2;
    RETURN cardinality(mine);
END $$;


-- Folds the sums of the batches into campaigns and usage. A campaign that gets more messages after all it had were final runs again.
CREATE OR REPLACE FUNCTION roll_up_counters() RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    folded INTEGER;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7305804403) THEN
        RETURN 0;
    END IF;
    CREATE TEMP TABLE IF NOT EXISTS folding (user_id BIGINT, campaign_id BIGINT, accepted INTEGER, sent INTEGER, delivered INTEGER, failed INTEGER, failed_unsent INTEGER) ON COMMIT DELETE ROWS;
    WITH gone AS (DELETE FROM tbl_counter_delta RETURNING *)
    INSERT INTO folding SELECT user_id, campaign_id, sum(accepted), sum(sent), sum(delivered), sum(failed), sum(failed_unsent) FROM gone GROUP BY 1, 2;
    GET DIAGNOSTICS folded = ROW_COUNT;
    IF folded = 0 THEN
        RETURN 0;
    END IF;
    UPDATE campaigns c SET total_recipients = c.total_recipients + f.accepted, sent_total = c.sent_total + f.sent,
           delivered_count = c.delivered_count + f.delivered, failed_count = c.failed_count + f.failed, failed_unsent = c.failed_unsent + f.failed_unsent,
           status = CASE WHEN c.status = 'COMPLETED' AND f.accepted > 0 THEN 'RUNNING' ELSE c.status END
    FROM folding f WHERE f.campaign_id = c.id;
    UPDATE campaigns c SET status = 'COMPLETED', completed_at = now() FROM folding f
    WHERE f.campaign_id = c.id AND c.status = 'RUNNING' AND c.day IS NULL AND c.total_recipients > 0
      AND c.delivered_count + c.failed_count >= c.total_recipients;
    INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type, messages_delivered, messages_failed)
    SELECT f.user_id, u.customer_id, (now() AT TIME ZONE u.timezone)::date, 'DAILY', sum(f.delivered), sum(f.failed)
    FROM folding f JOIN users u ON u.id = f.user_id WHERE f.delivered + f.failed > 0 GROUP BY 1, 2, 3
    ON CONFLICT (user_id, period_date, period_type, period_hour) DO UPDATE
    SET messages_delivered = tbl_quota_usage.messages_delivered + EXCLUDED.messages_delivered, messages_failed = tbl_quota_usage.messages_failed + EXCLUDED.messages_failed;
    RETURN folded;
END $$;
