-- After a start of a node, summarize_messages() takes what it has not seen in one go a partition, instead of a call for each range of each of them,
-- and no longer than a few seconds: with a year of partitions that would never have ended.
CREATE OR REPLACE FUNCTION summarize_messages(p_from JSONB) RETURNS JSONB LANGUAGE plpgsql SET lock_timeout = '50ms' AS $$
DECLARE
    r RECORD;
    pages BIGINT;
    first BIGINT;
BEGIN
    FOR r IN SELECT c.relname AS part, x.indexrelid::regclass AS index, i.reloptions[1] = 'pages_per_range=64' AS wide
             FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid
             JOIN pg_am a ON a.oid = i.relam WHERE h.inhparent = 'messages'::regclass AND a.amname = 'brin' ORDER BY 1, 3 LOOP
        EXIT WHEN clock_timestamp() > now() + interval '2 seconds' AND NOT r.wide;  -- the rest in the next call
        pages := pg_relation_size(r.part::regclass) / current_setting('block_size')::int / 64 * 64;
        first := COALESCE((p_from ->> r.part)::bigint, 0);
        CONTINUE WHEN pages <= first AND p_from ? r.part;
        BEGIN
            IF p_from ? r.part THEN
                PERFORM brin_summarize_range(r.index, b) FROM generate_series(first, pages - 1, CASE WHEN r.wide THEN 64 ELSE 8 END) AS b;
            ELSE  -- not looked at in this life of the node: all of it, but for the ranges that are not full
                PERFORM brin_summarize_new_values(r.index);
                PERFORM brin_desummarize_range(r.index, b) FROM generate_series(pages, pages + 63, CASE WHEN r.wide THEN 64 ELSE 8 END) AS b;
            END IF;
            IF r.wide THEN
                p_from := jsonb_set(p_from, ARRAY[r.part::text], to_jsonb(pages));
            END IF;
        EXCEPTION WHEN lock_not_available OR undefined_table THEN
            NULL;
        END;
    END LOOP;
    RETURN p_from;
END $$;
