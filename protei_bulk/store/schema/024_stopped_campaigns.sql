-- What waits in the queue for campaigns that are stopped.

ALTER TABLE campaign_holds ADD COLUMN at TIMESTAMPTZ NOT NULL DEFAULT now();

-- Holds what waits in the queue for campaigns that are stopped: looks at p_most rows of the queue for each of them in a call, and returns whether there
-- is more to look at. Of a planned one that is paused the few are held when they are claimed; of one that is cancelled everything is held, also what
-- waits for an SMSC that is away, again every so often, and rarer with time: what was in some lane, or on its way into the queue, comes behind. What an SMSC may have
-- stays. What is to go out later stays too while its campaign is only paused: it would be due at once when that goes on.
CREATE OR REPLACE FUNCTION hold_queued(p_most INTEGER) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
DECLARE
    r RECORD;
    ids TEXT[];
    mine TEXT[];
    more BOOLEAN := FALSE;
BEGIN
    DELETE FROM campaign_holds h WHERE NOT EXISTS (SELECT 1 FROM campaigns c WHERE c.id = h.campaign_id AND (c.status = 'PAUSED' OR c.draining));
    FOR r IN SELECT c.id, c.draining, CASE WHEN h.campaign_id IS NULL OR h.at < c.status_at OR h.upto = 'Z'
                    THEN message_id_at(COALESCE(c.started_at, c.created_at) - interval '1 minute') ELSE h.upto END AS upto
             FROM campaigns c LEFT JOIN campaign_holds h ON h.campaign_id = c.id
             WHERE (c.draining OR c.status = 'PAUSED' AND NOT c.planned)
               AND (h.campaign_id IS NULL OR h.upto <> 'Z' OR h.at < c.status_at OR c.draining AND h.at < now() - GREATEST(interval '20 seconds', (now() - c.status_at) / 10)) LOOP
        SELECT array_agg(x.message_id) INTO ids FROM (
            SELECT q.message_id FROM tbl_message_queue q WHERE q.message_id > r.upto ORDER BY q.message_id LIMIT p_most) x;
        SELECT array_agg(m.message_id) INTO mine FROM messages m WHERE m.message_id = ANY (ids) AND m.campaign_id = r.id;
        IF mine IS NOT NULL THEN
            UPDATE tbl_message_queue q SET due_at = 'infinity', held_for = r.id
            WHERE q.message_id = ANY (mine) AND q.claimed_by IS NULL AND NOT q.in_doubt AND q.due_at < 'infinity' AND (r.draining OR q.due_at <= now());
        END IF;
        INSERT INTO campaign_holds (campaign_id, upto, at) VALUES (r.id, CASE WHEN cardinality(ids) >= p_most THEN ids[p_most] ELSE 'Z' END, now())
        ON CONFLICT (campaign_id) DO UPDATE SET upto = EXCLUDED.upto, at = EXCLUDED.at;
        more := more OR COALESCE(cardinality(ids) >= p_most, FALSE);
    END LOOP;
    RETURN more;
END $$;

-- Makes due what was held for campaigns that go on, p_most rows at a time; returns the SMSCs for which there is some. Looks at each campaign once,
-- however much is held for it. Of one that was cancelled nothing is ever due again.
CREATE FUNCTION release_held(p_most INTEGER) RETURNS TEXT[] LANGUAGE plpgsql AS $$
DECLARE
    campaign BIGINT := 0;
    ids TEXT[];
    smscs TEXT[];
BEGIN
    LOOP
        SELECT q.held_for INTO campaign FROM tbl_message_queue q WHERE q.held_for > campaign ORDER BY q.held_for LIMIT 1;
        EXIT WHEN campaign IS NULL;
        CONTINUE WHEN EXISTS (SELECT 1 FROM campaigns c WHERE c.id = campaign AND (c.status IN ('PAUSED', 'CANCELLED') OR c.draining));
        SELECT array_agg(x.message_id) INTO ids FROM (
            SELECT q.message_id FROM tbl_message_queue q WHERE q.held_for = campaign LIMIT p_most FOR UPDATE SKIP LOCKED) x;
        WITH due AS (
            UPDATE tbl_message_queue q SET due_at = now(), held_for = NULL WHERE q.message_id = ANY (ids) RETURNING q.smsc_id
        ) SELECT array_agg(DISTINCT smsc_id) INTO smscs FROM due;
        IF smscs IS NOT NULL THEN
            RETURN smscs;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- Cancelled campaigns of which messages may still wait. Those are done with of which everything stored was sent or has ended, and of which nothing more
-- is stored: the engine is done with them (p_busy: those with which it is not), a request has been read to its end. Messages live a week at most.
DROP FUNCTION IF EXISTS drained_campaigns();
CREATE FUNCTION drained_campaigns(p_busy BIGINT[]) RETURNS JSON LANGUAGE plpgsql AS $$
BEGIN
    UPDATE campaigns c SET draining = FALSE WHERE c.draining AND c.id <> ALL (p_busy)
      AND ((c.accepted_total <= c.sent_total + c.failed_unsent AND NOT EXISTS (SELECT 1 FROM tbl_counter_delta d WHERE d.campaign_id = c.id)
            AND c.status_at < now() - CASE WHEN c.planned THEN interval '5 seconds' ELSE interval '1 minute' END)
           OR c.status_at < now() - interval '8 days');
    RETURN (SELECT json_agg(id ORDER BY id) FROM campaigns WHERE draining);
END $$;

-- Whether the quota of today has room for one more message of a campaign, whichever of its recipients it is for.
CREATE FUNCTION quota_for_campaign(p_campaign BIGINT) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT x.most = 0 OR x.most - x.sent >= LEAST(x.most, COALESCE(
        (SELECT max((h ->> 1)::int) FROM jsonb_array_elements(CASE jsonb_typeof(x.histogram) WHEN 'array' THEN x.histogram END) AS h), 1))
    FROM (SELECT COALESCE(u.max_msg_per_day, 500000) AS most, COALESCE(q.messages_sent, 0) AS sent, p.measured -> 'histogram' AS histogram
          FROM campaigns c JOIN users u ON u.id = c.user_id LEFT JOIN campaign_plans p ON p.campaign_id = c.id
          LEFT JOIN tbl_quota_usage q ON q.user_id = u.id AND q.period_type = 'DAILY' AND q.period_hour = 0 AND q.period_date = account_today(u.id)
          WHERE c.id = p_campaign) x
$$;

-- Recipients of campaigns that are over go a day later (their messages say who they were), what was refused after so many days; 0: never.
-- Blocks of drafts that were thrown away while their recipients were being gathered go, too.
CREATE OR REPLACE FUNCTION forget_campaigns(p_days INTEGER) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    gone INTEGER;
BEGIN
    DELETE FROM campaign_blocks b USING campaigns c WHERE c.id = b.campaign_id AND c.status IN ('COMPLETED', 'CANCELLED') AND NOT c.draining
      AND c.completed_at < now() - interval '1 day';
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM campaign_blocks b WHERE NOT EXISTS (SELECT 1 FROM campaigns c WHERE c.id = b.campaign_id);
    DELETE FROM campaign_refusals r WHERE NOT EXISTS (SELECT 1 FROM campaigns c WHERE c.id = r.campaign_id);
    IF p_days > 0 THEN
        DELETE FROM campaign_refusals r USING campaigns c WHERE c.id = r.campaign_id AND c.status IN ('COMPLETED', 'CANCELLED')
          AND c.completed_at < now() - make_interval(days => p_days);
    END IF;
    RETURN gone;
END $$;
