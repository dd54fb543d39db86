-- Long messages that an ESME has split itself: their parts know of each other, and may have one receipt together.

ALTER TABLE messages
    ADD COLUMN long_id      VARCHAR(64) COLLATE "C",  -- message_id of the part that came first
    ADD COLUMN long_part    SMALLINT,                 -- from 1
    ADD COLUMN long_total   SMALLINT,
    ADD COLUMN long_merged  BOOLEAN;                  -- its ESME is told of all parts at once
CREATE INDEX messages_long ON messages (long_id, long_part) WHERE long_id IS NOT NULL;

-- What an account's ESMEs are told of long messages that they split: each part, or the message.
ALTER TABLE users ADD COLUMN receipts VARCHAR(10) NOT NULL DEFAULT 'part' CHECK (receipts IN ('part', 'message'));

-- Such messages whose one receipt is still to come.
CREATE TABLE tbl_long_receipts (
    long_id  VARCHAR(64) COLLATE "C" PRIMARY KEY,
    user_id  BIGINT NOT NULL,
    due_at   TIMESTAMPTZ                              -- parts that are not there then are waited for no more; NULL: that was so
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX tbl_long_receipts_due ON tbl_long_receipts (due_at) WHERE due_at IS NOT NULL;

-- What a receipt said beside its state: TLVs.
ALTER TABLE tbl_parked_receipts ADD COLUMN details JSONB;

-- Parts of messages that get one receipt, just stored. p_rows: [{i message_id, u user, g long_id}].
CREATE FUNCTION expect_merged(p_rows JSON) RETURNS VOID LANGUAGE sql AS $$
    INSERT INTO tbl_long_receipts (long_id, user_id, due_at)
    SELECT DISTINCT x.g, x.u, now() + interval '15 minutes' FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, g TEXT)
    WHERE EXISTS (SELECT 1 FROM messages m WHERE m.message_id = x.i)
    ON CONFLICT DO NOTHING
$$;

-- Of messages whose rows in tbl_long_receipts are locked, those whose parts are all there and all final get their receipt into the
-- outbox: the worst outcome, under the id of the last part, with how many parts there were and arrived. Returns the users, or NULL.
CREATE FUNCTION tell_merged(p_held TEXT[]) RETURNS JSON LANGUAGE sql AS $$
    WITH part AS (
        SELECT g.long_id AS id, g.user_id AS u, g.due_at IS NULL OR g.due_at <= now() AS over, m.message_id, m.long_part, m.long_total, m.status,
               m.registered_delivery & 3 AS asked, m.error_code, m.message_text, m.submitted_at,
               array_position(ARRAY['REJECTED', 'FAILED', 'EXPIRED', 'DELETED', 'UNKNOWN', 'SKIPPED', 'DELIVERED'], m.status::text) AS rank
        FROM tbl_long_receipts g JOIN messages m ON m.long_id = g.long_id AND m.message_id >= g.long_id
        WHERE g.long_id = ANY (p_held) AND m.error_code IS DISTINCT FROM 'NOTSTORED'
    ), whole AS (
        SELECT id, u, min(rank) AS worst, count(DISTINCT long_part) AS sub,
               count(DISTINCT long_part) FILTER (WHERE status = 'DELIVERED') AS dlvrd,
               (array_agg(message_id ORDER BY long_part DESC, message_id DESC))[1] AS last,
               (array_agg(COALESCE(error_code, '') ORDER BY rank, long_part))[1] AS err,
               left((array_agg(message_text ORDER BY long_part, message_id))[1], 20) AS words,
               min(submitted_at) AS submitted, bool_or(asked IN (1, 3)) AS success, bool_or(asked IN (1, 2)) AS failure
        FROM part GROUP BY id, u HAVING bool_and(rank IS NOT NULL) AND (bool_or(over) OR count(DISTINCT long_part) >= max(long_total))
    ), gone AS (
        DELETE FROM tbl_long_receipts g USING whole WHERE g.long_id = whole.id
    ), told AS (
        INSERT INTO tbl_deliver_outbox (user_id, message_id, stat, err, payload)
        SELECT u, last, (ARRAY['REJECTD', 'UNDELIV', 'EXPIRED', 'DELETED', 'UNKNOWN', 'SKIPPED', 'DELIVRD'])[worst], err,
               jsonb_build_object('n', sub, 'k', dlvrd, 'x', words, 's', extract(epoch FROM submitted)::float8)
        FROM whole WHERE CASE WHEN worst = 7 THEN success ELSE failure END ORDER BY id RETURNING user_id
    ) SELECT json_agg(DISTINCT user_id) FROM told
$$;

-- Parts of these messages have become final in this transaction. Whoever makes the last one final sees the others so: one after the other.
CREATE FUNCTION merge_receipts(p_ids JSON) RETURNS JSON LANGUAGE plpgsql AS $$
DECLARE
    held TEXT[];
BEGIN
    SELECT array_agg(g.long_id) INTO held FROM (
        SELECT long_id FROM tbl_long_receipts WHERE long_id IN (SELECT json_array_elements_text(p_ids)) ORDER BY long_id FOR UPDATE
    ) g;
    RETURN CASE WHEN held IS NULL THEN NULL ELSE tell_merged(held) END;
END $$;

-- Messages that lack parts are told as they are, once they have waited long enough. Returns the users, or NULL.
CREATE FUNCTION merge_overdue() RETURNS JSON LANGUAGE plpgsql AS $$
DECLARE
    held TEXT[];
    told JSON;
BEGIN
    SELECT array_agg(g.long_id) INTO held FROM (
        SELECT long_id FROM tbl_long_receipts WHERE due_at <= now() ORDER BY long_id LIMIT 5000 FOR UPDATE SKIP LOCKED
    ) g;
    IF held IS NULL THEN
        RETURN NULL;
    END IF;
    told := tell_merged(held);
    UPDATE tbl_long_receipts SET due_at = NULL WHERE long_id = ANY (held);  -- those left: the next part that becomes final tells
    RETURN told;
END $$;

-- Receipts that went to ESMEs and were not acknowledged go to the outbox, with what they say beside their state.
-- Otherwise as before: what a node held in memory when it died goes back to the queue.
CREATE OR REPLACE FUNCTION recover_node(p_node INTEGER, p_hold TEXT[] DEFAULT '{}') RETURNS TABLE (queued BIGINT, receipts BIGINT) LANGUAGE plpgsql AS $$
DECLARE
    alphabet CONSTANT TEXT := '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
    mark TEXT := substr(alphabet, (p_node >> 5) + 1, 1) || substr(alphabet, (p_node & 31) + 1, 1);
    since TEXT;
BEGIN
    SELECT low_water INTO since FROM tbl_nodes WHERE node_id = p_node;
    UPDATE tbl_message_queue SET claimed_by = NULL, claimed_at = NULL,
           due_at = CASE WHEN smsc_id = ANY (p_hold) THEN 'infinity' ELSE due_at END WHERE claimed_by = p_node;
    INSERT INTO tbl_message_queue (message_id, smsc_id, priority, due_at)
    SELECT m.message_id, m.smsc_id, m.priority, CASE WHEN m.smsc_id = ANY (p_hold) THEN 'infinity'::timestamptz ELSE now() END FROM messages m
    WHERE m.message_id >= since AND m.status = 'QUEUED' AND substr(m.message_id, 13, 2) = mark
      AND NOT EXISTS (SELECT 1 FROM tbl_message_queue q WHERE q.message_id = m.message_id);
    GET DIAGNOSTICS queued = ROW_COUNT;
    INSERT INTO tbl_deliver_outbox (user_id, message_id, stat, err, payload)
    SELECT (r ->> 1)::bigint, r ->> 0, r ->> 2, r ->> 3, (r -> 4)::jsonb
    FROM tbl_forward_journal j, json_array_elements(j.receipts::json) AS r WHERE j.node_id = p_node
    ORDER BY j.journal_id;
    GET DIAGNOSTICS receipts = ROW_COUNT;
    DELETE FROM tbl_forward_journal WHERE node_id = p_node;
    RETURN NEXT;
END $$;
