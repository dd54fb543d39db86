-- Campaigns that the gateway expands itself: drafts, approval, recipients in blocks, pause and resume.

ALTER TABLE customers
    ADD COLUMN campaign_approval BOOLEAN NOT NULL DEFAULT FALSE,   -- somebody else must approve each campaign
    ADD COLUMN default_country   VARCHAR(2) NOT NULL DEFAULT '';   -- ISO 3166-1 alpha-2: of numbers without a country code; '': none

ALTER TABLE campaigns
    ADD COLUMN planned        BOOLEAN NOT NULL DEFAULT FALSE,      -- expanded by the engine: total_recipients is the plan's, not what was accepted
    ADD COLUMN accepted_total INTEGER NOT NULL DEFAULT 0,          -- messages stored
    ADD COLUMN refused_count  INTEGER NOT NULL DEFAULT 0,          -- of a planned one: recipients that became no message
    ADD COLUMN max_tps        INTEGER NOT NULL DEFAULT 0,          -- segments a second; 0: no limit of its own
    ADD COLUMN status_reason  VARCHAR(300) NOT NULL DEFAULT '',    -- why it is paused, cancelled or was sent back
    ADD COLUMN status_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN started_at     TIMESTAMPTZ,
    ADD COLUMN draining       BOOLEAN NOT NULL DEFAULT FALSE;      -- cancelled, and some of its messages still wait
CREATE INDEX campaigns_engine ON campaigns (id) WHERE planned AND status IN ('APPROVED', 'RUNNING');
CREATE INDEX campaigns_stopped ON campaigns (id) WHERE status = 'PAUSED' OR draining;
CREATE INDEX campaigns_status ON campaigns (status, id DESC) WHERE day IS NULL;
ALTER TABLE campaigns ADD CONSTRAINT campaigns_state CHECK
    (status IN ('DRAFT', 'PENDING_APPROVAL', 'APPROVED', 'RUNNING', 'PAUSED', 'COMPLETED', 'CANCELLED', 'FAILED'));  -- FAILED: a request of which nothing was taken

-- What only a planned campaign has. `draft` is what the wizard's steps hold, as campaigns/draft.py reads it; `version` grows with each change of it.
CREATE TABLE campaign_plans (
    campaign_id    BIGINT PRIMARY KEY REFERENCES campaigns (id) ON DELETE CASCADE,
    draft          JSONB NOT NULL DEFAULT '{}',
    version        INTEGER NOT NULL DEFAULT 0,
    smart          BOOLEAN NOT NULL DEFAULT FALSE,        -- typographic characters become GSM ones
    defaults       JSONB NOT NULL DEFAULT '{}',           -- values of variables that a recipient lacks: {NAME: text}
    tags           JSONB NOT NULL DEFAULT '[]',
    window_from    TIME,                                  -- sending hours; NULL: always
    window_to      TIME,
    window_days    SMALLINT[],                            -- 0 Monday to 6 Sunday; NULL: all
    window_zone    VARCHAR(64) NOT NULL DEFAULT '',       -- '': where the recipient is
    valid_minutes  INTEGER NOT NULL DEFAULT 0,            -- 0: the node's default
    submitted_by   BIGINT,
    submitted_at   TIMESTAMPTZ,
    decided_by     BIGINT,                                -- who approved it or sent it back
    decided_at     TIMESTAMPTZ,
    gathering      JSONB,                                 -- how far its recipients are gathered, and what became of them
    gathered       INTEGER NOT NULL DEFAULT 0,            -- draft.recipients as of this version is what campaign_blocks holds; 0: none
    measured       JSONB,                                 -- parts, missing variables: see campaigns/measure.py
    updated_at     TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 70);

-- The recipients, up to a thousand a row, all of one country: each number once in a campaign.
CREATE TABLE campaign_blocks (
    campaign_id  BIGINT NOT NULL,
    block        INTEGER NOT NULL,                        -- from 1
    country      VARCHAR(2) NOT NULL DEFAULT '',          -- ISO 3166-1 alpha-2, of the calling code
    size         INTEGER NOT NULL,
    state        CHAR(1) NOT NULL DEFAULT 'W',            -- W waits, T taken up (some may be stored), D done
    since        VARCHAR(64) COLLATE "C",                 -- no message of it has a smaller id; NULL: it was never taken up
    recipients   TEXT NOT NULL,                           -- JSON: [["962788123456", {"NAME": "Ahmad"}], ["962779234567"], ...]
    PRIMARY KEY (campaign_id, block)
) WITH (fillfactor = 90);
CREATE INDEX campaign_blocks_open ON campaign_blocks (campaign_id, country, block) WHERE state <> 'D';

-- Recipients that get no message, and why. `stage` G: found when they were gathered; E: when they were to be sent.
CREATE TABLE campaign_refusals (
    refusal_id   BIGSERIAL PRIMARY KEY,
    campaign_id  BIGINT NOT NULL,
    stage        CHAR(1) NOT NULL,
    block        INTEGER NOT NULL DEFAULT 0,
    line         INTEGER NOT NULL DEFAULT 0,              -- of the uploaded file, from 1; 0: not from a file
    given        VARCHAR(100) NOT NULL,                   -- the number as it was given
    code         VARCHAR(40) NOT NULL,
    detail       VARCHAR(300) NOT NULL DEFAULT ''
);
CREATE INDEX campaign_refusals_of ON campaign_refusals (campaign_id, refusal_id);

-- Messages of a campaign that is paused or cancelled wait with this in the queue, due never.
ALTER TABLE tbl_message_queue ADD COLUMN held_for BIGINT;
CREATE INDEX tbl_message_queue_held ON tbl_message_queue (held_for) WHERE held_for IS NOT NULL;

-- Tells all nodes that a campaign is to be started, paused, resumed or cancelled; and whoever shows it.
CREATE FUNCTION notify_campaign() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('protei_campaigns', NEW.id || ' ' || NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER campaigns_moved AFTER UPDATE OF status, max_tps ON campaigns FOR EACH ROW
    WHEN ((NEW.planned OR NEW.status IN ('PAUSED', 'CANCELLED') OR OLD.status = 'PAUSED')  -- not each request that is completed
          AND (OLD.status <> NEW.status OR OLD.max_tps <> NEW.max_tps)) EXECUTE FUNCTION notify_campaign();

-- One node expands all campaigns. It stays the same one until it leaves or others have taken over what it held: then nothing of it is
-- stored any more (fence()), and what is stored can be counted.
CREATE FUNCTION lead_campaigns(p_node INTEGER, p_epoch BIGINT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    PERFORM fence(p_node, p_epoch);
    INSERT INTO tbl_leases AS l (resource, node_id, epoch, until) VALUES ('campaigns', p_node, p_epoch, now())
    ON CONFLICT (resource) DO UPDATE SET fencing = l.fencing + 1, since = now(), node_id = p_node, epoch = p_epoch, until = now()
    WHERE (l.node_id = p_node AND l.epoch <> p_epoch) OR l.until = '-infinity'
       OR NOT EXISTS (SELECT 1 FROM tbl_nodes n WHERE n.node_id = l.node_id AND n.epoch = l.epoch AND n.gone_at IS NULL);
    RETURN EXISTS (SELECT 1 FROM tbl_leases WHERE resource = 'campaigns' AND node_id = p_node AND epoch = p_epoch);
END $$;

-- A block is finished: what it refused is written down, and a campaign of which everything is final is completed.
CREATE FUNCTION finish_block(p_campaign BIGINT, p_block INTEGER, p_refused JSON) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    UPDATE campaign_blocks SET state = 'D' WHERE campaign_id = p_campaign AND block = p_block AND state <> 'D';
    IF FOUND AND p_refused IS NOT NULL THEN
        INSERT INTO campaign_refusals (campaign_id, stage, block, given, code, detail)
        SELECT p_campaign, 'E', p_block, left(t, 100), left(c, 40), left(COALESCE(d, ''), 300) FROM json_to_recordset(p_refused) AS x (t TEXT, c TEXT, d TEXT);
        UPDATE campaigns SET refused_count = refused_count + json_array_length(p_refused) WHERE id = p_campaign;
    END IF;
END $$;

-- As in 001; of a planned campaign, those whom it did not take are among the failed.
CREATE OR REPLACE FUNCTION get_campaign_stats(p_campaign_id BIGINT)
RETURNS TABLE (total INTEGER, pending INTEGER, queued INTEGER, sent INTEGER, delivered INTEGER, failed INTEGER, progress_percentage NUMERIC)
LANGUAGE sql STABLE AS $$
    WITH n AS (
        SELECT c.status, c.planned, c.refused_count AS refused,
               (c.total_recipients + CASE WHEN c.planned THEN 0 ELSE COALESCE(sum(d.accepted), 0) END)::int AS total,
               (c.accepted_total + COALESCE(sum(d.accepted), 0))::int AS accepted,
               (c.sent_total + COALESCE(sum(d.sent), 0))::int AS ever_sent,
               (c.delivered_count + COALESCE(sum(d.delivered), 0))::int AS delivered,
               (c.failed_count + COALESCE(sum(d.failed), 0) + c.refused_count)::int AS failed,
               (c.failed_unsent + COALESCE(sum(d.failed_unsent), 0) + c.refused_count)::int AS failed_unsent
        FROM campaigns c LEFT JOIN tbl_counter_delta d ON d.campaign_id = c.id
        WHERE c.id = p_campaign_id GROUP BY c.id
    ), w AS (
        SELECT n.*, GREATEST(0, n.total - n.ever_sent - n.failed_unsent) AS waiting,
               CASE WHEN n.status IN ('DRAFT', 'APPROVED') THEN GREATEST(0, n.total - n.ever_sent - n.failed_unsent)
                    WHEN n.planned THEN GREATEST(0, n.total - n.accepted - n.refused) ELSE 0 END AS pending FROM n
    )
    SELECT w.total, LEAST(w.pending, w.waiting), w.waiting - LEAST(w.pending, w.waiting),
           GREATEST(0, w.ever_sent - w.delivered - (w.failed - w.failed_unsent)),
           w.delivered, w.failed,
           CASE WHEN w.total = 0 THEN 0 ELSE round(100.0 * (w.delivered + w.failed) / w.total, 2) END
    FROM w
$$;

-- A block is put back: what it refused is written down, the rest waits.
CREATE FUNCTION give_back_block(p_campaign BIGINT, p_block INTEGER, p_rest TEXT, p_size INTEGER, p_refused JSON) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    IF p_size = 0 THEN
        PERFORM finish_block(p_campaign, p_block, p_refused);
        RETURN;
    END IF;
    UPDATE campaign_blocks SET state = 'W', since = NULL, recipients = p_rest, size = p_size
    WHERE campaign_id = p_campaign AND block = p_block AND state = 'T';
    IF FOUND AND p_refused IS NOT NULL THEN
        INSERT INTO campaign_refusals (campaign_id, stage, block, given, code, detail)
        SELECT p_campaign, 'E', p_block, left(t, 100), left(c, 40), left(COALESCE(d, ''), 300) FROM json_to_recordset(p_refused) AS x (t TEXT, c TEXT, d TEXT);
        UPDATE campaigns SET refused_count = refused_count + json_array_length(p_refused) WHERE id = p_campaign;
    END IF;
END $$;

-- How far hold_queued() has come with a campaign that is stopped; the row goes when it runs again.
CREATE TABLE campaign_holds (
    campaign_id  BIGINT PRIMARY KEY,
    upto         VARCHAR(64) COLLATE "C" NOT NULL
);
