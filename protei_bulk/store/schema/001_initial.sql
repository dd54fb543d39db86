-- The whole schema of protei-bulk. Names of tables, columns and functions that SPEC names are fixed.
-- No foreign keys on tables that grow with traffic; those are partitioned by day and dropped, not deleted.

CREATE TABLE customers (
    id            BIGSERIAL PRIMARY KEY,
    name          VARCHAR(100) NOT NULL UNIQUE,
    status        VARCHAR(20) NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'SUSPENDED')),
    balance       NUMERIC(18, 6) NOT NULL DEFAULT 0,
    credit_limit  NUMERIC(18, 6) NOT NULL DEFAULT 0,
    currency      VARCHAR(3) NOT NULL DEFAULT 'USD',
    timezone      VARCHAR(64) NOT NULL DEFAULT 'UTC',
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE users (
    id                  BIGSERIAL PRIMARY KEY,
    customer_id         BIGINT NOT NULL REFERENCES customers (id),
    username            VARCHAR(100) NOT NULL UNIQUE,
    email               VARCHAR(255),
    password_hash       VARCHAR(255) NOT NULL,
    api_key             VARCHAR(64) UNIQUE,          -- SHA-256 of the key, in hex: the key itself is shown once
    api_key_created_at  TIMESTAMP,
    two_factor_enabled  BOOLEAN NOT NULL DEFAULT FALSE,
    two_factor_secret   VARCHAR(64),
    role                VARCHAR(20) NOT NULL DEFAULT 'SENDER'
                        CHECK (role IN ('ADMIN', 'CUSTOMER_ADMIN', 'SENDER', 'VIEWER')),
    status              VARCHAR(20) NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'SUSPENDED')),
    bind_type           VARCHAR(20) DEFAULT 'BOTH' CHECK (bind_type IN ('SMPP', 'HTTP', 'BOTH', 'WEB_ONLY')),
    can_use_smpp        BOOLEAN DEFAULT TRUE,
    can_use_http        BOOLEAN DEFAULT TRUE,
    can_use_api_bulk    BOOLEAN DEFAULT TRUE,
    max_msg_per_day     INTEGER DEFAULT 500000,      -- 0: no limit
    max_tps             INTEGER DEFAULT 0,           -- 0: no limit
    max_binds           INTEGER NOT NULL DEFAULT 0,  -- 0: the node's default
    allowed_smsc        JSONB DEFAULT '[]',
    allowed_sender_ids  JSONB DEFAULT '[]',
    allowed_ips         JSONB DEFAULT '[]',
    timezone            VARCHAR(64) NOT NULL DEFAULT 'UTC',
    dlr_callback_url    VARCHAR(500),
    last_login_at       TIMESTAMPTZ,
    created_at          TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at          TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX users_customer ON users (customer_id);

-- Every node keeps accounts in memory: tell them when one changes.
CREATE FUNCTION notify_account_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('protei_accounts', CASE WHEN TG_TABLE_NAME = 'users' THEN 'user:' || NEW.id ELSE 'customer:' || NEW.id END);
    RETURN NULL;
END $$;
CREATE TRIGGER users_changed AFTER INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION notify_account_change();
-- The balance changes with every batch and is nobody's cached copy: it must not wake the nodes.
CREATE TRIGGER customers_changed AFTER UPDATE OF status, credit_limit, currency, timezone ON customers
    FOR EACH ROW EXECUTE FUNCTION notify_account_change();

CREATE TABLE campaigns (
    id                  BIGSERIAL PRIMARY KEY,
    campaign_id         VARCHAR(64) NOT NULL UNIQUE,
    user_id             BIGINT NOT NULL,
    customer_id         BIGINT NOT NULL,
    name                VARCHAR(200),
    submission_channel  VARCHAR(20) NOT NULL CHECK (submission_channel IN ('WEB', 'HTTP_API', 'SMPP', 'SCHEDULER')),
    sender_id           VARCHAR(20),
    message_content     TEXT,
    encoding            VARCHAR(20),
    priority            VARCHAR(10) NOT NULL DEFAULT 'NORMAL',
    total_recipients    INTEGER NOT NULL DEFAULT 0,
    sent_total          INTEGER NOT NULL DEFAULT 0,   -- ever accepted by an SMSC
    delivered_count     INTEGER NOT NULL DEFAULT 0,
    failed_count        INTEGER NOT NULL DEFAULT 0,   -- all final states but DELIVERED
    failed_unsent       INTEGER NOT NULL DEFAULT 0,   -- of these, those no SMSC ever took
    status              VARCHAR(20) NOT NULL DEFAULT 'RUNNING',
    dlr_callback_url    VARCHAR(500),
    schedule_time       TIMESTAMPTZ,
    day                 DATE,                         -- of an account's SMPP traffic: one campaign a day
    created_at          TIMESTAMPTZ NOT NULL DEFAULT now(),
    completed_at        TIMESTAMPTZ
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX campaigns_smpp_day ON campaigns (user_id, day) WHERE day IS NOT NULL;
CREATE INDEX campaigns_user ON campaigns (user_id, id DESC);

-- message_id is ordered by time (collation "C"), so the partition key and the unique key are one column.
CREATE TABLE messages (
    message_id          VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
    campaign_id         BIGINT,
    user_id             BIGINT NOT NULL,
    from_addr           VARCHAR(21) NOT NULL,
    to_addr             VARCHAR(21) NOT NULL,
    message_text        TEXT NOT NULL,
    submission_channel  VARCHAR(20) NOT NULL,
    status              VARCHAR(20) NOT NULL,
    smpp_msg_id         VARCHAR(64),
    smsc_id             VARCHAR(64),
    dlr_status          VARCHAR(50),
    error_code          VARCHAR(20),
    payload             BYTEA,                        -- the octets, where the text cannot give them back
    udh                 BYTEA,
    data_coding         SMALLINT NOT NULL DEFAULT 0,
    esm_class           SMALLINT NOT NULL DEFAULT 0,
    protocol_id         SMALLINT NOT NULL DEFAULT 0,
    registered_delivery SMALLINT NOT NULL DEFAULT 0,
    addr_types          INTEGER NOT NULL DEFAULT 0,   -- source TON, source NPI, dest TON, dest NPI: an octet each
    priority            SMALLINT NOT NULL DEFAULT 1,
    segments            SMALLINT NOT NULL DEFAULT 1,
    attempts            SMALLINT NOT NULL DEFAULT 0,
    price               NUMERIC(12, 6) NOT NULL DEFAULT 0,
    tlvs                JSONB,
    dlr_url             VARCHAR(500),
    valid_until         TIMESTAMPTZ,
    submitted_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    sent_at             TIMESTAMPTZ,
    delivered_at        TIMESTAMPTZ
) PARTITION BY RANGE (message_id);
CREATE INDEX messages_smpp_msg_id ON messages (smpp_msg_id, smsc_id) WHERE smpp_msg_id IS NOT NULL;

-- A row a segment, for messages of several segments only: each has its own receipt.
CREATE TABLE message_parts (
    message_id   VARCHAR(64) COLLATE "C" NOT NULL,
    part         SMALLINT NOT NULL,
    smsc_id      VARCHAR(64),
    smpp_msg_id  VARCHAR(64),
    status       VARCHAR(20) NOT NULL DEFAULT 'SENT',
    dlr_status   VARCHAR(50),
    error_code   VARCHAR(20),
    sent_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (message_id, part)
) PARTITION BY RANGE (message_id);
CREATE INDEX message_parts_smpp_msg_id ON message_parts (smpp_msg_id, smsc_id) WHERE smpp_msg_id IS NOT NULL;

-- What no node holds in memory: overflow, retries, schedules, messages for a connector that is down.
CREATE TABLE tbl_message_queue (
    message_id    VARCHAR(64) COLLATE "C" PRIMARY KEY,
    smsc_id       VARCHAR(64) NOT NULL,
    priority      SMALLINT NOT NULL DEFAULT 1,
    due_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    attempts      SMALLINT NOT NULL DEFAULT 0,
    claimed_by    SMALLINT,
    claimed_at    TIMESTAMPTZ,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX tbl_message_queue_next ON tbl_message_queue (smsc_id, priority DESC, message_id) WHERE claimed_by IS NULL;

CREATE TABLE tbl_smpp_sessions (
    session_id        BIGSERIAL PRIMARY KEY,
    user_id           BIGINT NOT NULL,
    system_id         VARCHAR(50) NOT NULL,
    bind_type         VARCHAR(20) NOT NULL,
    remote_ip         INET,
    remote_port       INTEGER,
    session_token     VARCHAR(64) NOT NULL UNIQUE,
    status            VARCHAR(20) NOT NULL DEFAULT 'BOUND' CHECK (status IN ('BOUND', 'DISCONNECTED', 'SUSPENDED')),
    node_id           SMALLINT NOT NULL DEFAULT 0,
    current_tps       DECIMAL(10, 2) NOT NULL DEFAULT 0,
    messages_sent     INTEGER NOT NULL DEFAULT 0,
    messages_received INTEGER NOT NULL DEFAULT 0,
    bound_at          TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_activity_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    unbound_at        TIMESTAMPTZ
) WITH (fillfactor = 70);
CREATE INDEX tbl_smpp_sessions_bound ON tbl_smpp_sessions (user_id) WHERE status = 'BOUND';

CREATE TABLE tbl_api_requests (
    request_id        BIGSERIAL,
    user_id           BIGINT,
    endpoint          VARCHAR(255) NOT NULL,
    method            VARCHAR(10) NOT NULL,
    auth_type         VARCHAR(20),
    api_key           VARCHAR(64),                   -- first characters of the hash: never the key
    ip_address        INET,
    user_agent        VARCHAR(255),
    request_size      INTEGER,
    response_status   INTEGER NOT NULL,
    response_time_ms  INTEGER NOT NULL,
    error_message     VARCHAR(500),
    created_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, created_at)
) PARTITION BY RANGE (created_at);

CREATE TABLE tbl_permission_audit (
    audit_id    BIGSERIAL,
    user_id     BIGINT,
    actor_id    BIGINT,
    action      VARCHAR(50) NOT NULL,
    result      VARCHAR(20) NOT NULL,                -- SUCCESS, FAILURE
    ip_address  INET,
    user_agent  VARCHAR(255),
    details     JSONB NOT NULL DEFAULT '{}',
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (audit_id, created_at)
) PARTITION BY RANGE (created_at);

CREATE TABLE tbl_quota_usage (
    user_id             BIGINT NOT NULL,
    customer_id         BIGINT NOT NULL,
    period_date         DATE NOT NULL,
    period_type         VARCHAR(20) NOT NULL CHECK (period_type IN ('HOURLY', 'DAILY', 'MONTHLY')),
    period_hour         SMALLINT NOT NULL DEFAULT 0,  -- of HOURLY rows
    messages_sent       INTEGER NOT NULL DEFAULT 0,   -- segments accepted
    messages_delivered  INTEGER NOT NULL DEFAULT 0,
    messages_failed     INTEGER NOT NULL DEFAULT 0,
    peak_tps            DECIMAL(10, 2) NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, period_date, period_type, period_hour)
) WITH (fillfactor = 50);

-- Batches leave their sums here without contending for a row; the roller folds them in once a second.
CREATE TABLE tbl_counter_delta (
    delta_id       BIGSERIAL PRIMARY KEY,
    user_id        BIGINT NOT NULL,
    campaign_id    BIGINT,
    accepted       INTEGER NOT NULL DEFAULT 0,
    sent           INTEGER NOT NULL DEFAULT 0,
    delivered      INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    failed_unsent  INTEGER NOT NULL DEFAULT 0,
    created_at     TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- A row a batch: receipts committed but not yet acknowledged by the ESME they were sent to.
CREATE TABLE tbl_forward_journal (
    node_id     SMALLINT NOT NULL,
    journal_id  BIGINT NOT NULL,
    receipts    TEXT NOT NULL,                       -- JSON: [[message_id, user_id, stat, err], ...]
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (node_id, journal_id)
);

-- deliver_sm for ESMEs that are away.
CREATE TABLE tbl_deliver_outbox (
    outbox_id   BIGSERIAL PRIMARY KEY,
    user_id     BIGINT NOT NULL,
    kind        VARCHAR(10) NOT NULL DEFAULT 'RECEIPT' CHECK (kind IN ('RECEIPT', 'MO')),
    message_id  VARCHAR(64),
    stat        VARCHAR(20),
    err         VARCHAR(20),
    payload     JSONB,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX tbl_deliver_outbox_user ON tbl_deliver_outbox (user_id, outbox_id);

CREATE TABLE tbl_callback_outbox (
    callback_id      BIGSERIAL PRIMARY KEY,
    user_id          BIGINT NOT NULL,
    message_id       VARCHAR(64) NOT NULL,
    url              VARCHAR(500) NOT NULL,
    payload          JSONB NOT NULL,
    status           VARCHAR(10) NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'PARKED')),
    attempts         SMALLINT NOT NULL DEFAULT 0,
    next_attempt_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_error       VARCHAR(500),
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
CREATE INDEX tbl_callback_outbox_due ON tbl_callback_outbox (next_attempt_at) WHERE status = 'PENDING';

-- Receipts whose message is not known (yet): they can come before the submit_sm_resp.
CREATE TABLE tbl_parked_receipts (
    receipt_id   BIGSERIAL PRIMARY KEY,
    smsc_id      VARCHAR(64) NOT NULL,
    smpp_msg_id  VARCHAR(64) NOT NULL,
    stat         VARCHAR(20) NOT NULL,
    err          VARCHAR(20),
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX tbl_parked_receipts_id ON tbl_parked_receipts (smsc_id, smpp_msg_id);

CREATE TABLE tbl_nodes (
    node_id       SMALLINT PRIMARY KEY,
    name          VARCHAR(255) NOT NULL UNIQUE,
    low_water     VARCHAR(64) COLLATE "C" NOT NULL DEFAULT '',  -- no older message waits in its memory
    started_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    heartbeat_at  TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Partitions --------------------------------------------------------------------------------------

CREATE FUNCTION message_id_at(moment TIMESTAMPTZ) RETURNS TEXT LANGUAGE plpgsql STABLE AS $$
DECLARE
    alphabet CONSTANT TEXT := '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
    n BIGINT := GREATEST(0, floor(extract(epoch FROM moment) * 1000)::bigint - 1735689600000);
    digits TEXT := '';
BEGIN
    FOR i IN 1..8 LOOP
        digits := substr(alphabet, (n & 31)::int + 1, 1) || digits;
        n := n >> 5;
    END LOOP;
    RETURN 'MSG-' || digits || '0000';
END $$;

CREATE FUNCTION ensure_partitions(days_ahead INTEGER DEFAULT 3, days_back INTEGER DEFAULT 1) RETURNS INTEGER LANGUAGE plpgsql AS $$
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
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = 70, '
                    'autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.1)',
                    t || suffix, t, message_id_at(day::timestamp AT TIME ZONE 'UTC'), message_id_at((day + 1)::timestamp AT TIME ZONE 'UTC'));
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

-- Drops what is older than so many whole days; 0 keeps all.
CREATE FUNCTION drop_partitions(messages_days INTEGER, audit_days INTEGER) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    r RECORD;
    kept INTEGER;
    dropped INTEGER := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7305804402);
    FOR r IN SELECT p.relname AS parent, c.relname AS child FROM pg_inherits i
             JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
             WHERE p.relname IN ('messages', 'message_parts', 'tbl_api_requests', 'tbl_permission_audit')
               AND c.relkind = 'r' AND c.relname ~ '_p[0-9]{8}$' LOOP
        kept := CASE WHEN r.parent IN ('messages', 'message_parts') THEN messages_days ELSE audit_days END;
        IF kept > 0 AND to_date(right(r.child, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date - kept THEN
            EXECUTE format('DROP TABLE %I', r.child);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;

SELECT ensure_partitions(3, 1);

-- The specification's functions -----------------------------------------------------------------------

CREATE FUNCTION generate_api_key() RETURNS TEXT LANGUAGE sql VOLATILE AS $$
    SELECT substr(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 9, 48)
$$;

CREATE FUNCTION account_today(p_user_id BIGINT) RETURNS DATE LANGUAGE sql STABLE AS $$
    SELECT (now() AT TIME ZONE u.timezone)::date FROM users u WHERE u.id = p_user_id
$$;

CREATE FUNCTION check_daily_quota(p_user_id BIGINT) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT u.max_msg_per_day = 0 OR COALESCE(q.messages_sent, 0) < u.max_msg_per_day
    FROM users u
    LEFT JOIN tbl_quota_usage q ON q.user_id = u.id AND q.period_type = 'DAILY' AND q.period_hour = 0
                               AND q.period_date = account_today(u.id)
    WHERE u.id = p_user_id
$$;

CREATE FUNCTION update_quota_usage(p_user_id BIGINT, p_customer_id BIGINT, p_messages_count INTEGER) RETURNS VOID LANGUAGE sql AS $$
    INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type, messages_sent)
    VALUES (p_user_id, p_customer_id, account_today(p_user_id), 'DAILY', p_messages_count)
    ON CONFLICT (user_id, period_date, period_type, period_hour)
    DO UPDATE SET messages_sent = tbl_quota_usage.messages_sent + EXCLUDED.messages_sent
$$;

-- From counters and the sums not folded in yet: exact, and never counts messages.
CREATE FUNCTION get_campaign_stats(p_campaign_id BIGINT)
RETURNS TABLE (total INTEGER, pending INTEGER, queued INTEGER, sent INTEGER, delivered INTEGER, failed INTEGER, progress_percentage NUMERIC)
LANGUAGE sql STABLE AS $$
    WITH n AS (
        SELECT c.status,
               (c.total_recipients + COALESCE(sum(d.accepted), 0))::int AS total,
               (c.sent_total + COALESCE(sum(d.sent), 0))::int AS ever_sent,
               (c.delivered_count + COALESCE(sum(d.delivered), 0))::int AS delivered,
               (c.failed_count + COALESCE(sum(d.failed), 0))::int AS failed,
               (c.failed_unsent + COALESCE(sum(d.failed_unsent), 0))::int AS failed_unsent
        FROM campaigns c LEFT JOIN tbl_counter_delta d ON d.campaign_id = c.id
        WHERE c.id = p_campaign_id GROUP BY c.id
    ), w AS (SELECT n.*, GREATEST(0, n.total - n.ever_sent - n.failed_unsent) AS waiting FROM n)
    SELECT w.total,
           CASE WHEN w.status IN ('DRAFT', 'APPROVED') THEN w.waiting ELSE 0 END,
           CASE WHEN w.status IN ('DRAFT', 'APPROVED') THEN 0 ELSE w.waiting END,
           GREATEST(0, w.ever_sent - w.delivered - (w.failed - w.failed_unsent)),
           w.delivered, w.failed,
           CASE WHEN w.total = 0 THEN 0 ELSE round(100.0 * (w.delivered + w.failed) / w.total, 2) END
    FROM w
$$;

-- The hot path ----------------------------------------------------------------------------------------

-- Takes quota and money and stores a batch, all or nothing but for those whose quota or balance is short.
-- p_charges: [{u user, c customer, d day, n segments, a amount, k campaign, m messages}], one a user, campaign and day.
-- p_rows: the messages; p_queued: whether some wait in the queue table (w: due time in Unix seconds, or 0).
-- Returns {"message_id": "Q" | "B", ...} for those refused (quota, balance), or NULL.
CREATE FUNCTION accept_messages(p_charges JSON, p_rows JSON, p_queued BOOLEAN) RETURNS JSON LANGUAGE plpgsql AS $$
DECLARE
    r RECORD;
    quota_limit INTEGER;
    refused_ids TEXT[] := '{}';
    refused_json JSONB := '{}';
    ids TEXT[];
    left_over BIGINT;
    funds NUMERIC;
    taken RECORD;
BEGIN
    FOR r IN SELECT u, min(c) AS c, d, sum(n) AS n
             FROM json_to_recordset(p_charges) AS x (u BIGINT, c BIGINT, d DATE, n INTEGER) GROUP BY u, d ORDER BY u, d LOOP
        SELECT max_msg_per_day INTO quota_limit FROM users WHERE id = r.u;
        UPDATE tbl_quota_usage SET messages_sent = messages_sent + r.n
        WHERE user_id = r.u AND period_date = r.d AND period_type = 'DAILY' AND period_hour = 0
          AND (quota_limit = 0 OR messages_sent + r.n <= quota_limit);
        CONTINUE WHEN FOUND;
        INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type) VALUES (r.u, r.c, r.d, 'DAILY') ON CONFLICT DO NOTHING;
        SELECT CASE WHEN quota_limit = 0 THEN 9223372036854775807 ELSE quota_limit - messages_sent END INTO left_over FROM tbl_quota_usage
        WHERE user_id = r.u AND period_date = r.d AND period_type = 'DAILY' AND period_hour = 0 FOR UPDATE;
        WITH running AS (
            SELECT i, s, sum(s) OVER (ORDER BY i COLLATE "C") AS upto
            FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, s INTEGER) WHERE x.u = r.u
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

    IF refused_ids = '{}' THEN
        INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status, smsc_id,
                payload, udh, data_coding, esm_class, protocol_id, registered_delivery, addr_types, priority, segments, price, tlvs, dlr_url, valid_until)
        SELECT x.i, x.k, x.u, x.f, x.t, x.x, x.h, x.z, x.q, decode(x.b, 'hex'), decode(x.l, 'hex'), COALESCE(x.d, 0), COALESCE(x.e, 0), COALESCE(x.pi, 0),
               COALESCE(x.r, 0), x.o, COALESCE(x.y, 1), x.s, COALESCE(x.p, 0), x.tl, x.du, to_timestamp(x.v)
        FROM json_to_recordset(p_rows) AS x (i TEXT, k BIGINT, u BIGINT, f TEXT, t TEXT, x TEXT, h TEXT, z TEXT, q TEXT, b TEXT, l TEXT, d SMALLINT, e SMALLINT,
               pi SMALLINT, r SMALLINT, o INTEGER, y SMALLINT, s SMALLINT, p NUMERIC, tl JSONB, du TEXT, v DOUBLE PRECISION);
        INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted)
        SELECT u, k, m FROM json_to_recordset(p_charges) AS x (u BIGINT, k BIGINT, m INTEGER);
    ELSE
        INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status, smsc_id,
                payload, udh, data_coding, esm_class, protocol_id, registered_delivery, addr_types, priority, segments, price, tlvs, dlr_url, valid_until)
        SELECT x.i, x.k, x.u, x.f, x.t, x.x, x.h, x.z, x.q, decode(x.b, 'hex'), decode(x.l, 'hex'), COALESCE(x.d, 0), COALESCE(x.e, 0), COALESCE(x.pi, 0),
               COALESCE(x.r, 0), x.o, COALESCE(x.y, 1), x.s, COALESCE(x.p, 0), x.tl, x.du, to_timestamp(x.v)
        FROM json_to_recordset(p_rows) AS x (i TEXT, k BIGINT, u BIGINT, f TEXT, t TEXT, x TEXT, h TEXT, z TEXT, q TEXT, b TEXT, l TEXT, d SMALLINT, e SMALLINT,
               pi SMALLINT, r SMALLINT, o INTEGER, y SMALLINT, s SMALLINT, p NUMERIC, tl JSONB, du TEXT, v DOUBLE PRECISION)
        WHERE x.i <> ALL (refused_ids);
        INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted)
        SELECT u, k, count(*) FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, k BIGINT) WHERE x.i <> ALL (refused_ids) GROUP BY u, k;
    END IF;
    IF p_queued THEN
        INSERT INTO tbl_message_queue (message_id, smsc_id, priority, due_at)
        SELECT x.i, x.q, COALESCE(x.y, 1), CASE WHEN x.w > 0 THEN to_timestamp(x.w) ELSE now() END
        FROM json_to_recordset(p_rows) AS x (i TEXT, q TEXT, y SMALLINT, w DOUBLE PRECISION)
        WHERE x.w IS NOT NULL AND x.i <> ALL (refused_ids);
    END IF;
    RETURN CASE WHEN refused_json = '{}' THEN NULL ELSE refused_json::json END;
END $$;

-- Moves a batch of messages on and leaves what must be told to the customer, in one transaction.
-- p_rows: [{i id, z new status, q smsc, x SMSC's id (where it was just sent), d receipt state, e error}]. A final state stays.
CREATE FUNCTION advance_messages(p_rows JSON, p_node INTEGER, p_journal_id BIGINT, p_journal TEXT,
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
                   sent_at = CASE WHEN x.x IS NOT NULL THEN now() ELSE m.sent_at END,
                   dlr_status = COALESCE(x.d, m.dlr_status), error_code = COALESCE(x.e, m.error_code),
                   delivered_at = CASE WHEN x.z = 'DELIVERED' THEN now() ELSE m.delivered_at END
            FROM json_to_recordset(p_rows) AS x (i TEXT, z TEXT, q TEXT, x TEXT, d TEXT, e TEXT)
            WHERE m.message_id = x.i
              AND m.status IN ('PENDING', 'QUEUED', 'SENT', 'SCHEDULED')
              AND (x.x IS NULL OR m.smpp_msg_id IS DISTINCT FROM x.x)
            RETURNING m.user_id, m.campaign_id, x.z, x.x IS NOT NULL AS just_sent, m.sent_at IS NULL AS unsent
        )
        INSERT INTO tbl_counter_delta (user_id, campaign_id, sent, delivered, failed, failed_unsent)
        SELECT user_id, campaign_id, count(*) FILTER (WHERE just_sent), count(*) FILTER (WHERE z = 'DELIVERED'),
               count(*) FILTER (WHERE z NOT IN ('DELIVERED', 'SENT', 'QUEUED')), count(*) FILTER (WHERE z NOT IN ('DELIVERED', 'SENT', 'QUEUED') AND unsent)
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

-- Folds the sums of the batches into campaigns and usage.
CREATE FUNCTION roll_up_counters() RETURNS INTEGER LANGUAGE plpgsql AS $$
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
           delivered_count = c.delivered_count + f.delivered, failed_count = c.failed_count + f.failed, failed_unsent = c.failed_unsent + f.failed_unsent
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

-- What a node held in memory when it died: its messages go back to the queue, its receipts to the outbox.
-- p_hold: SMSCs to which nothing may go twice: what may have gone there waits until somebody releases it.
CREATE FUNCTION recover_node(p_node INTEGER, p_hold TEXT[] DEFAULT '{}') RETURNS TABLE (queued BIGINT, receipts BIGINT) LANGUAGE plpgsql AS $$
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
    INSERT INTO tbl_deliver_outbox (user_id, message_id, stat, err)
    SELECT (r ->> 1)::bigint, r ->> 0, r ->> 2, r ->> 3
    FROM tbl_forward_journal j, json_array_elements(j.receipts::json) AS r WHERE j.node_id = p_node
    ORDER BY j.journal_id;
    GET DIAGNOSTICS receipts = ROW_COUNT;
    DELETE FROM tbl_forward_journal WHERE node_id = p_node;
    RETURN NEXT;
END $$;
