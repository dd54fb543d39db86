-- Figures of traffic for pages: of campaigns, and of accounts by hour and by day. See docs/decisions/traffic-figures.md.

-- E.164 country code of a number in digits; of what is no such number, its first three characters. At most some 1,000 different ones.
CREATE FUNCTION calling_code(p_number TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN left(p_number, 1) IN ('1', '7') THEN left(p_number, 1)
                WHEN left(p_number, 2) IN ('20', '27', '30', '31', '32', '33', '34', '36', '39', '40', '41', '43', '44', '45', '46', '47', '48', '49', '51',
                     '52', '53', '54', '55', '56', '57', '58', '60', '61', '62', '63', '64', '65', '66', '81', '82', '84', '86', '90', '91', '92', '93',
                     '94', '95', '98') THEN left(p_number, 2)
                ELSE left(p_number, 3) END
$$;

-- '' where it is not known: nothing of what is accepted, for it costs a look at each message.
ALTER TABLE tbl_counter_delta
    ADD COLUMN smsc_id  VARCHAR(64) NOT NULL DEFAULT '',
    ADD COLUMN prefix   VARCHAR(3) NOT NULL DEFAULT '',           -- of the number
    ADD COLUMN reason   VARCHAR(64) NOT NULL DEFAULT '';          -- of the failed: the SMSC's or our code, else the state

-- What moves now: sums of five seconds, for a quarter of an hour. Nothing is lost with it.
CREATE UNLOGGED TABLE tbl_pulse (
    campaign_id  BIGINT NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    user_id      BIGINT NOT NULL,
    accepted     INTEGER NOT NULL,
    sent         INTEGER NOT NULL,
    delivered    INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, at)
) WITH (fillfactor = 70);
CREATE INDEX tbl_pulse_at ON tbl_pulse (at);

-- A campaign over time: by the minute, and by the hour once it is older than three days.
CREATE TABLE campaign_times (
    campaign_id  BIGINT NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    grain        CHAR(1) NOT NULL DEFAULT 'M',            -- M minute, H hour
    accepted     INTEGER NOT NULL,
    sent         INTEGER NOT NULL,
    delivered    INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, grain, at)
) WITH (fillfactor = 70);
CREATE INDEX campaign_times_minutes ON campaign_times (at) WHERE grain = 'M';

-- A campaign in all, by what its messages met.
CREATE TABLE campaign_figures (
    campaign_id  BIGINT NOT NULL,
    smsc_id      VARCHAR(64) NOT NULL,
    country      VARCHAR(3) NOT NULL,
    reason       VARCHAR(64) NOT NULL,
    sent         INTEGER NOT NULL,
    delivered    INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, smsc_id, country, reason)
) WITH (fillfactor = 70);

-- Accounts, each dimension by itself: C channel, S SMSC, N country, R reason of failure. What was accepted is known by channel only.
CREATE TABLE tbl_traffic_hours (
    user_id      BIGINT NOT NULL,
    dim          CHAR(1) NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    value        VARCHAR(64) NOT NULL,
    accepted     INTEGER NOT NULL,
    segments     INTEGER NOT NULL,
    sent         INTEGER NOT NULL,
    delivered    INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    PRIMARY KEY (dim, at, user_id, value)
) WITH (fillfactor = 70);
CREATE INDEX tbl_traffic_hours_user ON tbl_traffic_hours (user_id, at);

-- The same by the account's own days.
CREATE TABLE tbl_traffic_days (
    user_id      BIGINT NOT NULL,
    dim          CHAR(1) NOT NULL,
    day          DATE NOT NULL,
    value        VARCHAR(64) NOT NULL,
    accepted     INTEGER NOT NULL,
    segments     INTEGER NOT NULL,
    sent         INTEGER NOT NULL,
    delivered    INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    PRIMARY KEY (dim, day, user_id, value)
) WITH (fillfactor = 70);
CREATE INDEX tbl_traffic_days_user ON tbl_traffic_days (user_id, day);

-- Adds what roll_up_counters() has just folded, of which folding_seconds holds a row a second and whatever else it is grouped by.
CREATE FUNCTION fold_traffic() RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tbl_pulse AS t (campaign_id, at, user_id, accepted, sent, delivered, failed)
    SELECT campaign_id, date_bin('5 seconds', at, '2000-01-01Z'), min(user_id), sum(accepted), sum(sent), sum(delivered), sum(failed)
    FROM folding_seconds WHERE campaign_id IS NOT NULL GROUP BY 1, 2
    ON CONFLICT (campaign_id, at) DO UPDATE SET accepted = t.accepted + EXCLUDED.accepted, sent = t.sent + EXCLUDED.sent,
        delivered = t.delivered + EXCLUDED.delivered, failed = t.failed + EXCLUDED.failed;
    DELETE FROM tbl_pulse WHERE at < now() - interval '16 minutes';

    INSERT INTO campaign_times AS t (campaign_id, at, accepted, sent, delivered, failed)
    SELECT campaign_id, date_trunc('minute', at), sum(accepted), sum(sent), sum(delivered), sum(failed)
    FROM folding_seconds WHERE campaign_id IS NOT NULL GROUP BY 1, 2
    ON CONFLICT (campaign_id, grain, at) DO UPDATE SET accepted = t.accepted + EXCLUDED.accepted, sent = t.sent + EXCLUDED.sent,
        delivered = t.delivered + EXCLUDED.delivered, failed = t.failed + EXCLUDED.failed;

    INSERT INTO campaign_figures AS t (campaign_id, smsc_id, country, reason, sent, delivered, failed)
    SELECT campaign_id, smsc_id, country, reason, sum(sent), sum(delivered), sum(failed)
    FROM folding_seconds WHERE campaign_id IS NOT NULL AND (sent > 0 OR delivered > 0 OR failed > 0) GROUP BY 1, 2, 3, 4
    ON CONFLICT (campaign_id, smsc_id, country, reason) DO UPDATE SET sent = t.sent + EXCLUDED.sent,
        delivered = t.delivered + EXCLUDED.delivered, failed = t.failed + EXCLUDED.failed;

    -- Once by hour and once by day; what has but one value in a dimension is one row of it.
    WITH hours AS MATERIALIZED (
        SELECT f.user_id, date_trunc('hour', f.at) AS at, (f.at AT TIME ZONE u.timezone)::date AS day, c.submission_channel AS channel, f.smsc_id, f.country,
               f.reason, sum(f.accepted) AS accepted, sum(f.segments) AS segments, sum(f.sent) AS sent, sum(f.delivered) AS delivered, sum(f.failed) AS failed
        FROM folding_seconds f JOIN users u ON u.id = f.user_id LEFT JOIN campaigns c ON c.id = f.campaign_id GROUP BY 1, 2, 3, 4, 5, 6, 7
    ), each AS MATERIALIZED (
        SELECT h.user_id, d.dim, h.at, h.day, d.value, sum(h.accepted) AS accepted, sum(h.segments) AS segments, sum(h.sent) AS sent,
               sum(h.delivered) AS delivered, sum(h.failed) AS failed
        FROM hours h CROSS JOIN LATERAL (VALUES ('C', COALESCE(h.channel, '')), ('S', h.smsc_id), ('N', h.country), ('R', h.reason)) AS d (dim, value)
        WHERE d.dim = 'C' OR (d.dim = 'R' AND h.failed > 0) OR (d.dim <> 'R' AND (h.sent > 0 OR h.delivered > 0 OR h.failed > 0))
        GROUP BY 1, 2, 3, 4, 5
    ), by_hour AS (
        INSERT INTO tbl_traffic_hours AS t (user_id, dim, at, value, accepted, segments, sent, delivered, failed)
        SELECT user_id, dim, at, value, sum(accepted), sum(segments), sum(sent), sum(delivered), sum(failed) FROM each GROUP BY 1, 2, 3, 4
        ON CONFLICT (dim, at, user_id, value) DO UPDATE SET accepted = t.accepted + EXCLUDED.accepted, segments = t.segments + EXCLUDED.segments,
            sent = t.sent + EXCLUDED.sent, delivered = t.delivered + EXCLUDED.delivered, failed = t.failed + EXCLUDED.failed
    )
    INSERT INTO tbl_traffic_days AS t (user_id, dim, day, value, accepted, segments, sent, delivered, failed)
    SELECT user_id, dim, day, value, sum(accepted), sum(segments), sum(sent), sum(delivered), sum(failed) FROM each GROUP BY 1, 2, 3, 4
    ON CONFLICT (dim, day, user_id, value) DO UPDATE SET accepted = t.accepted + EXCLUDED.accepted, segments = t.segments + EXCLUDED.segments,
        sent = t.sent + EXCLUDED.sent, delivered = t.delivered + EXCLUDED.delivered, failed = t.failed + EXCLUDED.failed;
END $$;

-- Minutes of campaigns become hours after three days. Hours of accounts go after 35 days, of which the days stay; those, and what is known of campaigns over
-- time, go after a year and a month.
CREATE FUNCTION keep_traffic() RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (
        DELETE FROM campaign_times WHERE grain = 'M' AND at < date_trunc('hour', now() - interval '3 days') RETURNING *
    )
    INSERT INTO campaign_times AS t (campaign_id, at, grain, accepted, sent, delivered, failed)
    SELECT campaign_id, date_trunc('hour', at), 'H', sum(accepted), sum(sent), sum(delivered), sum(failed) FROM gone GROUP BY 1, 2
    ON CONFLICT (campaign_id, grain, at) DO UPDATE SET accepted = t.accepted + EXCLUDED.accepted, sent = t.sent + EXCLUDED.sent,
        delivered = t.delivered + EXCLUDED.delivered, failed = t.failed + EXCLUDED.failed;
    DELETE FROM tbl_traffic_hours WHERE at < now() - interval '35 days' AND dim IN ('C', 'S', 'N', 'R');
    DELETE FROM tbl_traffic_days WHERE day < current_date - 396 AND dim IN ('C', 'S', 'N', 'R');
    DELETE FROM campaign_times t WHERE grain = 'H' AND at < now() - interval '396 days';
END $$;

-- Folds the sums of the batches into campaigns and usage, by hour, day and month, with the busiest second. DAILY.messages_sent is the quota:
-- accept_messages() counts that. A campaign that gets more messages after all it had were final runs again.
-- Of a planned campaign, total_recipients stays what was planned, and complete_campaigns() says when it is complete. Figures of traffic are folded, too.
CREATE OR REPLACE FUNCTION roll_up_counters() RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    folded INTEGER;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7305804403) THEN
        RETURN 0;
    END IF;
    WITH gone AS (DELETE FROM tbl_margin_delta RETURNING *)
    INSERT INTO tbl_margin AS t (day, customer_id, route, smsc_id, segments, revenue, cost)
    SELECT (g.created_at AT TIME ZONE 'UTC')::date, u.customer_id, g.route, g.smsc_id, sum(g.segments), sum(g.revenue), sum(g.cost)
    FROM gone g JOIN users u ON u.id = g.user_id GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, customer_id, route, smsc_id) DO UPDATE
    SET segments = t.segments + EXCLUDED.segments, revenue = t.revenue + EXCLUDED.revenue, cost = t.cost + EXCLUDED.cost;
    CREATE TEMP TABLE IF NOT EXISTS folding_seconds (user_id BIGINT, campaign_id BIGINT, at TIMESTAMPTZ, smsc_id TEXT, country TEXT, reason TEXT, accepted INTEGER, segments INTEGER, sent INTEGER,
        delivered INTEGER, failed INTEGER, failed_unsent INTEGER) ON COMMIT DELETE ROWS;
    WITH gone AS (DELETE FROM tbl_counter_delta RETURNING *)
    INSERT INTO folding_seconds SELECT user_id, campaign_id, date_trunc('second', created_at), smsc_id, calling_code(prefix), reason, sum(accepted), sum(segments), sum(sent), sum(delivered),
        sum(failed), sum(failed_unsent) FROM gone GROUP BY 1, 2, 3, 4, 5, 6;
    GET DIAGNOSTICS folded = ROW_COUNT;
    IF folded = 0 THEN
        RETURN 0;
    END IF;
    UPDATE campaigns c SET total_recipients = c.total_recipients + CASE WHEN c.planned THEN 0 ELSE f.accepted END,
           accepted_total = c.accepted_total + f.accepted, sent_total = c.sent_total + f.sent,
           delivered_count = c.delivered_count + f.delivered, failed_count = c.failed_count + f.failed, failed_unsent = c.failed_unsent + f.failed_unsent,
           status = CASE WHEN c.status = 'COMPLETED' AND f.accepted > 0 AND NOT c.planned
                         OR c.status = 'APPROVED' AND f.sent > 0 AND NOT c.planned THEN 'RUNNING' ELSE c.status END
    FROM (SELECT campaign_id, sum(accepted) AS accepted, sum(sent) AS sent, sum(delivered) AS delivered, sum(failed) AS failed,
                 sum(failed_unsent) AS failed_unsent FROM folding_seconds GROUP BY 1) f WHERE f.campaign_id = c.id;
    UPDATE campaigns c SET status = 'COMPLETED', completed_at = now() FROM folding_seconds f
    WHERE f.campaign_id = c.id AND c.status = 'RUNNING' AND c.day IS NULL AND NOT c.planned AND c.total_recipients > 0
      AND c.delivered_count + c.failed_count >= c.total_recipients;
    -- Whoever accepts holds rows of days in this order, too.
    WITH seconds AS (
        INSERT INTO tbl_tps_seconds AS t (user_id, at, n) SELECT user_id, at, sum(accepted) FROM folding_seconds GROUP BY 1, 2 HAVING sum(accepted) > 0
        ON CONFLICT (user_id, at) DO UPDATE SET n = t.n + EXCLUDED.n RETURNING t.user_id, t.at, t.n
    ), local AS (
        SELECT f.user_id, u.customer_id, f.at AT TIME ZONE u.timezone AS here, f.segments, f.delivered, f.failed, COALESCE(s.n, 0) AS peak
        FROM (SELECT user_id, at, sum(segments) AS segments, sum(delivered) AS delivered, sum(failed) AS failed FROM folding_seconds GROUP BY 1, 2) f
        JOIN users u ON u.id = f.user_id LEFT JOIN seconds s ON s.user_id = f.user_id AND s.at = f.at
    ), periods AS (
        SELECT user_id, customer_id, here::date AS day, 'DAILY' AS kind, 0 AS hour, 0::bigint AS segments, sum(delivered) AS delivered, sum(failed) AS failed,
               max(peak) AS peak FROM local GROUP BY 1, 2, 3 HAVING sum(delivered) + sum(failed) + max(peak) > 0
        UNION ALL
        SELECT user_id, customer_id, here::date, 'HOURLY', extract(hour FROM here)::int, sum(segments), sum(delivered), sum(failed), max(peak)
        FROM local GROUP BY 1, 2, 3, 5
        UNION ALL
        SELECT user_id, customer_id, date_trunc('month', here)::date, 'MONTHLY', 0, sum(segments), sum(delivered), sum(failed), max(peak)
        FROM local GROUP BY 1, 2, 3
    )
    INSERT INTO tbl_quota_usage AS q (user_id, customer_id, period_date, period_type, period_hour, messages_sent, messages_delivered, messages_failed, peak_tps)
    SELECT user_id, customer_id, day, kind, hour, segments, delivered, failed, peak FROM periods ORDER BY user_id, day, kind, hour
    ON CONFLICT (user_id, period_date, period_type, period_hour) DO UPDATE
    SET messages_sent = GREATEST(0, q.messages_sent + EXCLUDED.messages_sent), messages_delivered = q.messages_delivered + EXCLUDED.messages_delivered,
        messages_failed = q.messages_failed + EXCLUDED.messages_failed, peak_tps = GREATEST(q.peak_tps, EXCLUDED.peak_tps);
    PERFORM fold_traffic();
    DELETE FROM tbl_tps_seconds WHERE at < now() - interval '30 seconds';
    RETURN folded;
END $$;
