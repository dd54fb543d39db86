-- What a message costs PostgreSQL. See docs/performance.md.

-- As before, with less of a page filled: room for the two versions that follow. So what a receipt changes stays within the page, no index is written
-- for it, and the table is smaller than with a page that is full at first.
CREATE OR REPLACE FUNCTION ensure_partitions(days_ahead INTEGER DEFAULT 3, days_back INTEGER DEFAULT 1) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    today DATE := (now() AT TIME ZONE 'UTC')::date;
    day DATE;
    suffix TEXT;
    made INTEGER := 0;
    t TEXT;
BEGIN
    PERFORM pg_advisory_xact_lock(7305804402);
    FOR i IN -days_back..days_ahead LOOP
        day := today + i;
        suffix := '_p' || to_char(day, 'YYYYMMDD');
        FOREACH t IN ARRAY ARRAY['messages', 'message_parts'] LOOP
            IF to_regclass(t || suffix) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = %s, '
                    'autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.1)',
                    t || suffix, t, message_id_at(day::timestamp AT TIME ZONE 'UTC'), message_id_at((day + 1)::timestamp AT TIME ZONE 'UTC'),
                    CASE WHEN t = 'messages' THEN 45 ELSE 70 END);
                made := made + 1;
            END IF;
        END LOOP;
        FOREACH t IN ARRAY ARRAY['tbl_api_requests', 'tbl_permission_audit'] LOOP
            IF to_regclass(t || suffix) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                    t || suffix, t, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
                made := made + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

DO $$
DECLARE
    part TEXT;
BEGIN
    FOR part IN SELECT c.relname FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE h.inhparent = 'messages'::regclass LOOP
        EXECUTE format('ALTER TABLE %I SET (fillfactor = 45)', part);
    END LOOP;
END $$;

-- Moves a batch of messages on and leaves what must be told to the customer, in one transaction.
-- p_rows: [{i id, z new status, q smsc, x SMSC's id (where it was just sent), d receipt state, e error, c what the SMSC charges}]. What may follow
-- what is model/lifecycle.py; tests compare the two. A message counts as sent once, however often and wherever it goes. What an SMSC took, or was
-- delivered, is captured; what ends without goes back.
-- Robust against plans of an empty partition.
CREATE OR REPLACE FUNCTION advance_messages(p_rows JSON, p_node INTEGER, p_journal_id BIGINT, p_journal TEXT,
                                 p_outbox JSON, p_callbacks JSON, p_dequeue JSON, p_parts JSON) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    changed INTEGER := 0;
    money JSONB;
    ids TEXT[];
BEGIN
    -- The journal row is what tells a batch that comes again, after a COMMIT whose answer was lost.
    IF p_journal IS NOT NULL THEN
        INSERT INTO tbl_forward_journal (node_id, journal_id, receipts) VALUES (p_node, p_journal_id, p_journal) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN -1;
        END IF;
    END IF;
    IF p_rows IS NOT NULL THEN
        -- The ids beside the rows they stand in: whatever the planner thinks of a new partition, it looks these up and reads nothing else.
        SELECT array_agg(i) INTO ids FROM json_to_recordset(p_rows) AS x (i TEXT);
        WITH moved AS (
            UPDATE messages m SET status = x.z,
                   smsc_id = COALESCE(x.q, m.smsc_id), smpp_msg_id = COALESCE(x.x, m.smpp_msg_id),
                   sent_at = CASE WHEN x.x IS NOT NULL THEN COALESCE(m.sent_at, now()) ELSE m.sent_at END,
                   dlr_status = COALESCE(x.d, m.dlr_status), error_code = COALESCE(x.e, m.error_code),
                   delivered_at = CASE WHEN x.z = 'DELIVERED' THEN now() ELSE m.delivered_at END,
                   ended_at = CASE WHEN x.z IN ('SENT', 'QUEUED', 'SCHEDULED') THEN m.ended_at ELSE now() END,
                   charge = CASE WHEN m.charge IS NULL THEN NULL
                                 WHEN m.charge = 'A' AND x.z NOT IN ('QUEUED', 'SCHEDULED')
                                 THEN CASE WHEN x.z IN ('SENT', 'DELIVERED') OR x.x IS NOT NULL OR m.sent_at IS NOT NULL THEN 'C' ELSE 'R' END
                                 WHEN m.charge = 'D' AND x.z NOT IN ('SENT', 'QUEUED', 'SCHEDULED') THEN CASE WHEN x.z = 'DELIVERED' THEN 'C' ELSE 'R' END
                                 ELSE m.charge END,
                   settled_at = CASE WHEN m.charge IS NULL THEN m.settled_at
                                     WHEN (m.charge = 'A' AND x.z NOT IN ('QUEUED', 'SCHEDULED')) OR (m.charge = 'D' AND x.z NOT IN ('SENT', 'QUEUED', 'SCHEDULED'))
                                     THEN now() ELSE m.settled_at END
            FROM json_to_recordset(p_rows) AS x (i TEXT, z TEXT, q TEXT, x TEXT, d TEXT, e TEXT, c NUMERIC)
            WHERE m.message_id = x.i AND m.message_id = ANY (ids)
              AND m.status IN ('PENDING', 'QUEUED', 'SENT', 'SCHEDULED')
              AND CASE x.z WHEN 'PENDING' THEN FALSE WHEN 'SCHEDULED' THEN m.status = 'PENDING' WHEN 'QUEUED' THEN m.status IN ('PENDING', 'SCHEDULED') ELSE TRUE END
              AND (x.x IS NULL OR m.smpp_msg_id IS DISTINCT FROM x.x)
            RETURNING m.user_id, m.campaign_id, x.z, x.x IS NOT NULL AND m.sent_at = now() AS just_sent, m.sent_at IS NULL AS unsent, x.z NOT IN ('SENT', 'QUEUED', 'SCHEDULED') AS over,
                      x.x IS NOT NULL AS taken, m.route, m.smsc_id, m.segments, m.price, m.to_addr, m.error_code, x.c AS cost, m.charge, m.settled_at = now() AS settled
        ), counted AS (
        INSERT INTO tbl_counter_delta (user_id, campaign_id, smsc_id, prefix, reason, sent, delivered, failed, failed_unsent)
        SELECT user_id, campaign_id, COALESCE(smsc_id, ''), left(to_addr, 3),
               CASE WHEN over AND z <> 'DELIVERED' THEN COALESCE(NULLIF(error_code, ''), z) ELSE '' END, count(*) FILTER (WHERE just_sent), count(*) FILTER (WHERE z = 'DELIVERED'),
               count(*) FILTER (WHERE over AND z <> 'DELIVERED'), count(*) FILTER (WHERE over AND unsent AND z <> 'DELIVERED')
        FROM moved GROUP BY 1, 2, 3, 4, 5 RETURNING 1
        ), sums AS (  -- of what has a price or a cost only
        SELECT user_id, campaign_id, COALESCE(route, '') AS route, COALESCE(smsc_id, '') AS smsc_id,
               COALESCE(sum(price) FILTER (WHERE settled AND charge = 'C'), 0) AS captured, count(*) FILTER (WHERE settled AND charge = 'C') AS captures,
               COALESCE(sum(price) FILTER (WHERE settled AND charge = 'R'), 0) AS released, count(*) FILTER (WHERE settled AND charge = 'R') AS releases,
               COALESCE(sum(price) FILTER (WHERE settled AND charge = 'R'), 0) AS given_back,
               COALESCE(sum(price) FILTER (WHERE (settled AND charge = 'C')
                    OR (charge IS NULL AND (just_sent OR (unsent AND over)))), 0) AS revenue,
               COALESCE(sum(cost) FILTER (WHERE taken), 0) AS cost, COALESCE(sum(segments) FILTER (WHERE taken), 0) AS segments
        FROM moved WHERE price > 0 OR cost > 0 GROUP BY 1, 2, 3, 4
        )
        SELECT (SELECT count(*) FROM counted),
               (SELECT jsonb_agg(to_jsonb(sums)) FROM sums WHERE captured > 0 OR released > 0 OR revenue > 0 OR segments > 0) INTO changed, money;
        IF money IS NOT NULL THEN
            PERFORM book_settled(money);
            INSERT INTO tbl_margin_delta (user_id, route, smsc_id, segments, revenue, cost)
            SELECT user_id, route, smsc_id, segments, revenue, cost
            FROM jsonb_to_recordset(money) AS x (user_id BIGINT, route TEXT, smsc_id TEXT, segments INTEGER, revenue NUMERIC, cost NUMERIC)
            WHERE segments > 0 OR revenue > 0 OR cost > 0;
        END IF;
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
