-- Searching messages. See docs/decisions/message-search.md: a B-tree on messages costs every message more than all that it saves the few who search.

-- Of each 64 pages which numbers, of each 8 which accounts and campaigns are in them: 3 octets a message, and nothing while it is stored and sent,
-- for what is new is taken in by summarize_messages().
CREATE INDEX messages_number ON messages USING brin (to_addr text_bloom_ops (n_distinct_per_range = 2000, false_positive_rate = 0.001))
    WITH (pages_per_range = 64);
CREATE INDEX messages_owner ON messages
    USING brin (user_id int8_bloom_ops (n_distinct_per_range = 32), campaign_id int8_bloom_ops (n_distinct_per_range = 32)) WITH (pages_per_range = 8);

-- Takes what has come since into those two indexes: whole ranges only, for what is stored into a range that is in them costs far more.
-- p_from: the first page of each partition that may be new, by name; returns the same for the next call. Beside a vacuum of a partition, it waits for
-- the next call: who waits longer for such a lock ends the vacuum.
CREATE FUNCTION summarize_messages(p_from JSONB) RETURNS JSONB LANGUAGE plpgsql SET lock_timeout = '50ms' AS $$
DECLARE
    r RECORD;
    pages BIGINT;
    first BIGINT;
BEGIN
    FOR r IN SELECT c.relname AS part, x.indexrelid::regclass AS index, i.reloptions[1] = 'pages_per_range=64' AS wide
             FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid
             JOIN pg_am a ON a.oid = i.relam WHERE h.inhparent = 'messages'::regclass AND a.amname = 'brin' ORDER BY 1, 3 LOOP
        pages := pg_relation_size(r.part::regclass) / current_setting('block_size')::int / 64 * 64;
        first := COALESCE((p_from ->> r.part)::bigint, 0);
        CONTINUE WHEN pages <= first AND p_from ? r.part;
        BEGIN
            IF pages = 0 THEN  -- an index that is made empty has the first range in it
                PERFORM brin_desummarize_range(r.index, 0);
            END IF;
            PERFORM brin_summarize_range(r.index, b) FROM generate_series(first, pages - 1, CASE WHEN r.wide THEN 64 ELSE 8 END) AS b;
            IF r.wide THEN
                p_from := jsonb_set(p_from, ARRAY[r.part::text], to_jsonb(pages));
            END IF;
        EXCEPTION WHEN lock_not_available OR undefined_table THEN
            NULL;
        END;
    END LOOP;
    RETURN p_from;
END $$;

-- The youngest p_most messages before an id (NULL: of all) of these accounts (NULL: all), of a campaign (NULL: any), in one of these states
-- (NULL: any), to a number (NULL: any), youngest first. First by a look at the last 100,000; then a day after the other: where these accounts, or
-- the campaign, have few messages, by what the indexes say, else along the day.
CREATE FUNCTION find_messages(p_users BIGINT[], p_campaign BIGINT, p_states TEXT[], p_number TEXT, p_before TEXT, p_most INTEGER)
RETURNS SETOF TEXT LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS $$
DECLARE
    conditions TEXT := concat_ws(' AND ', 'm.message_id < $5', CASE WHEN p_users IS NOT NULL THEN 'm.user_id = ANY ($1)' END,
        CASE WHEN p_campaign IS NOT NULL THEN 'm.campaign_id = $2' END, CASE WHEN p_states IS NOT NULL THEN 'm.status = ANY ($3)' END,
        CASE WHEN p_number IS NOT NULL THEN 'm.to_addr = $4' END);
    upto TEXT := COALESCE(p_before, 'MSG-ZZZZZZZZZZZZ~');
    since TIMESTAMPTZ;
    one TEXT;
    n INTEGER;
    few BOOLEAN := p_number IS NOT NULL;
    day RECORD;
BEGIN
    IF p_users IS NOT NULL AND cardinality(p_users) = 1 THEN
        conditions := replace(conditions, '= ANY ($1)', '= $1[1]');
    END IF;
    IF p_number IS NOT NULL THEN  -- what names it best is asked alone
        conditions := replace(replace(conditions, 'm.user_id', '(m.user_id + 0)'), 'm.campaign_id', '(m.campaign_id + 0)');
    ELSE
        FOR one IN EXECUTE 'SELECT m.message_id FROM (SELECT message_id, user_id, campaign_id, status FROM messages'
                ' WHERE message_id < $5 ORDER BY message_id DESC LIMIT 100000) m WHERE ' || conditions || ' LIMIT $6'
                USING p_users, p_campaign, p_states, p_number, upto, p_most LOOP
            RETURN NEXT one;
            upto := one;
            p_most := p_most - 1;
        END LOOP;
        IF p_most <= 0 THEN
            RETURN;
        END IF;
    END IF;
    IF p_campaign IS NOT NULL THEN
        SELECT created_at - interval '1 minute', total_recipients <= 50000 INTO since, few FROM campaigns WHERE id = p_campaign;
        few := COALESCE(few, TRUE);
    END IF;
    FOR day IN SELECT c.relname AS part, message_id_at(to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC') AS first,
                      to_date(right(c.relname, 8), 'YYYYMMDD') AS date
               FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE h.inhparent = 'messages'::regclass AND c.relname ~ '_p[0-9]{8}$' ORDER BY 1 DESC LOOP
        CONTINUE WHEN day.first >= upto;
        EXIT WHEN since IS NOT NULL AND day.date + 1 < (since AT TIME ZONE 'UTC')::date;
        IF p_users IS NOT NULL AND p_campaign IS NULL AND p_number IS NULL THEN
            -- Days of an account's zone, counted in segments: near enough.
            SELECT COALESCE(sum(messages_sent), 0) <= 100000 INTO few FROM tbl_quota_usage
            WHERE user_id = ANY (p_users) AND period_type = 'DAILY' AND period_hour = 0 AND period_date BETWEEN day.date - 1 AND day.date + 1;
        END IF;
        IF few THEN
            PERFORM set_config('enable_indexscan', 'off', TRUE), set_config('enable_indexonlyscan', 'off', TRUE);
        END IF;
        RETURN QUERY EXECUTE format('SELECT m.message_id::text FROM %I m WHERE ', day.part) || conditions || ' ORDER BY m.message_id DESC LIMIT $6'
            USING p_users, p_campaign, p_states, p_number, upto, p_most;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF few THEN
            PERFORM set_config('enable_indexscan', 'on', TRUE), set_config('enable_indexonlyscan', 'on', TRUE);
        END IF;
        p_most := p_most - n;
        EXIT WHEN p_most <= 0;
    END LOOP;
END $$;
SELECT summarize_messages('{}');
