-- Money: what a segment costs customers, the ledger, what is reserved, margins. Usage by hour and month.

-- When the price of a message is theirs no more: with its acceptance here, by an SMSC, or with its delivery. Until then it is reserved.
ALTER TABLE customers ADD COLUMN charge_on VARCHAR(8) NOT NULL DEFAULT 'ACCEPT' CHECK (charge_on IN ('SUBMIT', 'ACCEPT', 'DELIVERY'));
DROP TRIGGER customers_changed ON customers;
CREATE TRIGGER customers_changed AFTER UPDATE OF status, credit_limit, currency, timezone, charge_on ON customers
    FOR EACH ROW EXECUTE FUNCTION notify_account_change();

ALTER TABLE messages
    ALTER COLUMN price TYPE NUMERIC(18, 6),
    ADD COLUMN charge      VARCHAR(1),    -- its price is reserved until an SMSC accepts it (A) or it is delivered (D); captured (C); released (R)
    ADD COLUMN settled_at  TIMESTAMPTZ;   -- when it became C or R; without a charge it is free, or was taken for good with its acceptance here

-- The sum of `amount` is customers.balance at every moment, that of `held` what is reserved: whatever changes a balance writes a row in
-- the same transaction. A row a customer and batch; whole hours of them are folded into one.
CREATE TABLE tbl_ledger (
    entry_id     BIGSERIAL PRIMARY KEY,
    customer_id  BIGINT NOT NULL,
    kind         VARCHAR(8) NOT NULL CHECK (kind IN ('TOPUP', 'RESERVE', 'CAPTURE', 'RELEASE', 'ADJUST')),
    amount       NUMERIC(20, 6) NOT NULL,              -- what it does to the balance
    held         NUMERIC(20, 6) NOT NULL DEFAULT 0,    -- what it does to what is reserved
    messages     BIGINT NOT NULL DEFAULT 0,
    reference    VARCHAR(64) NOT NULL DEFAULT '',      -- "campaign N" (campaigns.id), or the day
    folded       BOOLEAN NOT NULL DEFAULT FALSE,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX tbl_ledger_customer ON tbl_ledger (customer_id, created_at, entry_id);
CREATE INDEX tbl_ledger_unfolded ON tbl_ledger (created_at) WHERE NOT folded AND kind IN ('RESERVE', 'CAPTURE', 'RELEASE');

-- What there was before: what waits is reserved from now on.
UPDATE messages SET charge = 'A' WHERE price > 0 AND status IN ('PENDING', 'QUEUED', 'SCHEDULED') AND sent_at IS NULL;
WITH waiting AS (
    SELECT u.customer_id, sum(m.price) AS a, count(*) AS n FROM messages m JOIN users u ON u.id = m.user_id WHERE m.charge = 'A' GROUP BY 1
)
INSERT INTO tbl_ledger (customer_id, kind, amount, held, messages, reference)
SELECT c.id, 'ADJUST', c.balance + COALESCE(w.a, 0), 0, 0, 'opening balance' FROM customers c LEFT JOIN waiting w ON w.customer_id = c.id
WHERE c.balance + COALESCE(w.a, 0) <> 0
UNION ALL SELECT customer_id, 'RESERVE', -a, a, n, 'waiting' FROM waiting;

-- What customers pay for a segment: to a network, to a prefix, or (both empty) to everybody, from a time on. Without customer_id it is the
-- default deck, for customers of its currency; a customer's own deck is in the customer's. No price: not in the deck any more.
CREATE TABLE tbl_rates (
    rate_id      BIGSERIAL PRIMARY KEY,
    customer_id  BIGINT REFERENCES customers (id) ON DELETE CASCADE,
    currency     VARCHAR(3) NOT NULL DEFAULT '' CHECK (currency ~ '^([A-Z]{3})?$'),
    mccmnc       VARCHAR(6) NOT NULL DEFAULT '' CHECK (mccmnc ~ '^([0-9]{3}|[0-9]{5,6})?$'),
    prefix       VARCHAR(20) NOT NULL DEFAULT '' CHECK (prefix ~ '^[0-9]*$'),
    price        NUMERIC(12, 6) CHECK (price >= 0),
    valid_from   TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
    CHECK (mccmnc = '' OR prefix = ''),
    CHECK ((customer_id IS NULL) = (currency <> ''))
);
CREATE UNIQUE INDEX tbl_rates_entry ON tbl_rates (COALESCE(customer_id, 0), currency, mccmnc, prefix, valid_from);

-- Every node has the decks in memory: once a statement and deck (0: the default one), tell them.
CREATE FUNCTION notify_decks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('protei_decks', d.id::text) FROM (SELECT DISTINCT COALESCE(customer_id, 0) AS id FROM altered) d;
    RETURN NULL;
END $$;
CREATE TRIGGER tbl_rates_added AFTER INSERT ON tbl_rates REFERENCING NEW TABLE AS altered FOR EACH STATEMENT EXECUTE FUNCTION notify_decks();
CREATE TRIGGER tbl_rates_changed AFTER UPDATE ON tbl_rates REFERENCING NEW TABLE AS altered FOR EACH STATEMENT EXECUTE FUNCTION notify_decks();
CREATE TRIGGER tbl_rates_removed AFTER DELETE ON tbl_rates REFERENCING OLD TABLE AS altered FOR EACH STATEMENT EXECUTE FUNCTION notify_decks();

-- A day (UTC) of a customer, rule and SMSC: `revenue` in the customer's currency as it is captured, `cost` in that of [routing] as the SMSC takes it.
CREATE TABLE tbl_margin (
    day          DATE NOT NULL,
    customer_id  BIGINT NOT NULL,
    route        VARCHAR(64) NOT NULL DEFAULT '',
    smsc_id      VARCHAR(64) NOT NULL DEFAULT '',
    segments     BIGINT NOT NULL DEFAULT 0,            -- that the SMSC took
    revenue      NUMERIC(20, 6) NOT NULL DEFAULT 0,
    cost         NUMERIC(20, 6) NOT NULL DEFAULT 0,
    PRIMARY KEY (day, customer_id, route, smsc_id)
) WITH (fillfactor = 50);
CREATE TABLE tbl_margin_delta (
    delta_id     BIGSERIAL PRIMARY KEY,
    user_id      BIGINT NOT NULL,
    route        VARCHAR(64) NOT NULL,
    smsc_id      VARCHAR(64) NOT NULL,
    segments     INTEGER NOT NULL,
    revenue      NUMERIC(20, 6) NOT NULL,
    cost         NUMERIC(20, 6) NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Quota: what the batches accepted, in segments; and how many messages each of the last seconds had.
ALTER TABLE tbl_counter_delta ADD COLUMN segments INTEGER NOT NULL DEFAULT 0;
CREATE UNLOGGED TABLE tbl_tps_seconds (
    user_id  BIGINT NOT NULL,
    at       TIMESTAMPTZ NOT NULL,
    n        INTEGER NOT NULL,
    PRIMARY KEY (user_id, at)
);
CREATE INDEX tbl_tps_seconds_at ON tbl_tps_seconds (at);

-- The rows of a batch at its acceptance: p_amount is taken, p_held of it reserved.
CREATE FUNCTION book_taken(p_customer BIGINT, p_amount NUMERIC, p_held NUMERIC, p_messages BIGINT, p_reference TEXT) RETURNS VOID LANGUAGE sql AS $$
    INSERT INTO tbl_ledger (customer_id, kind, amount, held, messages, reference)
    SELECT p_customer, k, -a, h, p_messages, p_reference
    FROM (VALUES ('RESERVE', p_held, p_held), ('CAPTURE', p_amount - p_held, 0)) AS v (k, a, h) WHERE a <> 0
$$;

-- What was reserved is captured, or goes back: p_money [{user_id, campaign_id, captured, released, given_back, captures, releases}], where
-- given_back goes to the balance and `released` of it had been reserved.
CREATE FUNCTION book_settled(p_money JSONB) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    r RECORD;
BEGIN
    FOR r IN SELECT u.customer_id AS c, sum(x.captured) AS captured, sum(x.released) AS released, sum(x.given_back) AS given_back,
                    sum(x.captures) AS captures, sum(x.releases) AS releases,
                    CASE WHEN min(x.campaign_id) = max(x.campaign_id) THEN 'campaign ' || min(x.campaign_id)
                         ELSE (now() AT TIME ZONE min(u.timezone))::date::text END AS reference
             FROM jsonb_to_recordset(p_money) AS x (user_id BIGINT, campaign_id BIGINT, captured NUMERIC, released NUMERIC, given_back NUMERIC,
                    captures BIGINT, releases BIGINT)
             JOIN users u ON u.id = x.user_id GROUP BY 1 ORDER BY 1 LOOP
        IF r.given_back <> 0 THEN
            UPDATE customers SET balance = balance + r.given_back WHERE id = r.c;
        END IF;
        INSERT INTO tbl_ledger (customer_id, kind, amount, held, messages, reference)
        SELECT r.c, k, a, h, n, r.reference
        FROM (VALUES ('CAPTURE', 0, -r.captured, r.captures), ('RELEASE', r.given_back, -r.released, r.releases)) AS v (k, a, h, n) WHERE a <> 0 OR h <> 0;
    END LOOP;
END $$;

-- Gives the money of messages back whose rows the caller has locked; `p_all`: also what was taken for good.
CREATE FUNCTION give_back(p_ids TEXT[], p_all BOOLEAN) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    money JSONB;
BEGIN
    SELECT jsonb_agg(to_jsonb(g)) INTO money FROM (
        SELECT user_id, campaign_id, 0 AS captured, COALESCE(sum(price) FILTER (WHERE charge IN ('A', 'D')), 0) AS released, sum(price) AS given_back,
               0 AS captures, count(*) AS releases
        FROM messages WHERE message_id = ANY (p_ids) AND price > 0 AND (charge IN ('A', 'D') OR (p_all AND charge IS NULL)) GROUP BY 1, 2) g;
    IF money IS NOT NULL THEN
        PERFORM book_settled(money);
    END IF;
END $$;

-- Takes quota and money and stores a batch, all or nothing but for those whose quota or balance is short.
-- p_charges: [{u user, c customer, d day, n segments, a amount, h how much of it is reserved, k campaign, m messages, b priced ones}], one
-- a user and campaign. p_rows: the messages, see row_of() in store/messages.py; p_queued: whether some wait in the queue table (w: due time in
-- Unix seconds, or 0).
-- p_campaigns: [{k, i campaign_id, u, c, h channel, n name, f sender, x content, e encoding, y priority, w dlr_url, s schedule, z status}]
-- that may not exist yet: a request and its messages are one commit.
-- Returns {"message_id": "Q" | "B", ...} for those refused (quota, balance), or NULL.
DROP FUNCTION accept_messages(JSON, JSON, BOOLEAN);
-- Ends messages that nobody holds any more: taken out of a lane, or claimed for the purpose. What was reserved goes back, what was taken for good
-- stays taken. Their receipts go to the outboxes. p_rows: [{i id, z status, d receipt state, o whether the ESME wants a receipt, w callback
-- address, p its payload}]. Returns {id: status} of all, as it is now: the same call twice does no harm.
CREATE FUNCTION end_withdrawn(p_rows JSON) RETURNS JSON LANGUAGE plpgsql AS $$
DECLARE
    ended TEXT[];
BEGIN
    WITH held AS MATERIALIZED (
        SELECT m.message_id FROM messages m JOIN json_to_recordset(p_rows) AS x (i TEXT) ON m.message_id = x.i
        WHERE m.status IN ('PENDING', 'QUEUED', 'SCHEDULED') AND m.sent_at IS NULL ORDER BY m.message_id FOR UPDATE OF m
    ) SELECT array_agg(message_id) INTO ended FROM held;
    IF ended IS NOT NULL THEN
        PERFORM give_back(ended, FALSE);
        INSERT INTO tbl_margin_delta (user_id, route, smsc_id, segments, revenue, cost)
        SELECT user_id, COALESCE(route, ''), COALESCE(smsc_id, ''), 0, sum(price), 0 FROM messages
        WHERE message_id = ANY (ended) AND price > 0 AND charge IS NULL GROUP BY 1, 2, 3;
        WITH gone AS (
            UPDATE messages m SET status = x.z, dlr_status = x.d, price = CASE WHEN m.charge IN ('A', 'D') THEN 0 ELSE m.price END,
                   charge = CASE WHEN m.charge IN ('A', 'D') THEN 'R' ELSE m.charge END, settled_at = CASE WHEN m.charge IN ('A', 'D') THEN now() END, ended_at = now()
            FROM json_to_recordset(p_rows) AS x (i TEXT, z TEXT, d TEXT) WHERE m.message_id = x.i AND m.message_id = ANY (ended)
            RETURNING m.user_id, m.campaign_id
        ) INSERT INTO tbl_counter_delta (user_id, campaign_id, failed, failed_unsent)
        SELECT user_id, campaign_id, count(*), count(*) FROM gone GROUP BY 1, 2;
        DELETE FROM tbl_message_queue WHERE message_id = ANY (ended);
        INSERT INTO tbl_deliver_outbox (user_id, message_id, stat, err)
        SELECT m.user_id, m.message_id, x.d, '' FROM json_to_recordset(p_rows) AS x (i TEXT, d TEXT, o BOOLEAN)
        JOIN messages m ON m.message_id = x.i WHERE x.o AND x.i = ANY (ended) ORDER BY m.message_id;
        INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload)
        SELECT m.user_id, m.message_id, x.w, x.p FROM json_to_recordset(p_rows) AS x (i TEXT, w TEXT, p JSONB)
        JOIN messages m ON m.message_id = x.i WHERE x.w IS NOT NULL AND x.i = ANY (ended) ORDER BY m.message_id;
    END IF;
    RETURN (SELECT json_object_agg(m.message_id, m.status) FROM messages m JOIN json_to_recordset(p_rows) AS x (i TEXT) ON m.message_id = x.i);
END $$;

-- Their senders were told that they are not stored, and they were stored all the same: as if they had never been. Quota and all money go back.
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
    PERFORM give_back(mine, TRUE);
    DELETE FROM tbl_message_queue WHERE message_id = ANY (mine);
    WITH gone AS (
        UPDATE messages m SET status = 'REJECTED', dlr_status = 'REJECTD', error_code = 'NOTSTORED', price = 0, ended_at = now(),
               charge = CASE WHEN m.charge IN ('A', 'D') THEN 'R' ELSE m.charge END, settled_at = CASE WHEN m.charge IN ('A', 'D') THEN now() END
        WHERE m.message_id = ANY (mine) RETURNING m.user_id, m.campaign_id, m.segments
    ) INSERT INTO tbl_counter_delta (user_id, campaign_id, failed, failed_unsent, segments)
    SELECT user_id, campaign_id, count(*), count(*), -sum(segments) FROM gone GROUP BY 1, 2;
    RETURN cardinality(mine);
END $$;

-- Replaces the content of a message that nobody holds any more. p: {i id, x text, b octets or null, s segments, p price, r registered_delivery,
-- v valid until, d day of the quota, w due}. Without w it goes back into memory; with it, into the queue table, for anybody.
-- Returns K done, F no longer waiting, Q quota, B balance. The same call twice does no harm.
CREATE FUNCTION replace_message(p JSON) RETURNS TEXT LANGUAGE plpgsql AS $$
DECLARE
    n RECORD;
    old RECORD;
    more INTEGER;
    dearer NUMERIC;
    due TIMESTAMPTZ;
BEGIN
    SELECT * INTO n FROM json_to_record(p) AS x (i TEXT, x TEXT, b TEXT, s INTEGER, p NUMERIC, r SMALLINT, v DOUBLE PRECISION, d DATE, w DOUBLE PRECISION);
    SELECT m.segments, m.price, m.user_id, m.smsc_id, m.priority, m.from_addr, m.to_addr, m.charge, m.campaign_id, u.customer_id, COALESCE(u.max_msg_per_day, 500000) AS max_msg_per_day INTO old
    FROM messages m JOIN users u ON u.id = m.user_id
    WHERE m.message_id = n.i AND m.status IN ('PENDING', 'QUEUED', 'SCHEDULED') AND m.sent_at IS NULL FOR UPDATE OF m;
    IF NOT FOUND THEN
        RETURN 'F';
    END IF;
    more := GREATEST(0, n.s - old.segments);
    dearer := n.p - old.price;
    IF more > 0 THEN
        INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type) VALUES (old.user_id, old.customer_id, n.d, 'DAILY') ON CONFLICT DO NOTHING;
        UPDATE tbl_quota_usage SET messages_sent = messages_sent + more
        WHERE user_id = old.user_id AND period_date = n.d AND period_type = 'DAILY' AND period_hour = 0
          AND (old.max_msg_per_day = 0 OR messages_sent + more <= old.max_msg_per_day);
        IF NOT FOUND THEN
            RETURN 'Q';
        END IF;
    END IF;
    IF dearer <> 0 THEN
        UPDATE customers SET balance = balance - dearer WHERE id = old.customer_id AND (dearer < 0 OR balance + credit_limit >= dearer);
        IF NOT FOUND THEN
            UPDATE tbl_quota_usage SET messages_sent = messages_sent - more
            WHERE more > 0 AND user_id = old.user_id AND period_date = n.d AND period_type = 'DAILY' AND period_hour = 0;
            RETURN 'B';
        END IF;
        INSERT INTO tbl_ledger (customer_id, kind, amount, held, messages, reference)
        SELECT old.customer_id, CASE WHEN dearer < 0 THEN 'RELEASE' WHEN old.charge IS NULL THEN 'CAPTURE' ELSE 'RESERVE' END, -dearer,
               CASE WHEN old.charge IS NULL THEN 0 ELSE dearer END, 1, 'campaign ' || old.campaign_id;
    END IF;
    IF more > 0 THEN
        INSERT INTO tbl_counter_delta (user_id, campaign_id, segments) VALUES (old.user_id, old.campaign_id, more);
    END IF;
    due := to_timestamp(n.w);
    UPDATE messages SET message_text = n.x, payload = decode(n.b, 'hex'), segments = n.s, price = n.p, registered_delivery = n.r,
           valid_until = to_timestamp(n.v), status = CASE WHEN due > now() THEN 'SCHEDULED' ELSE 'QUEUED' END
    WHERE message_id = n.i;
    IF due IS NULL THEN
        UPDATE tbl_message_queue SET expires_at = to_timestamp(n.v) WHERE message_id = n.i;
    ELSE
        INSERT INTO tbl_message_queue (message_id, smsc_id, priority, due_at, expires_at, match_key)
        VALUES (n.i, old.smsc_id, old.priority, due, to_timestamp(n.v), queue_key(old.user_id, old.from_addr, old.to_addr))
        ON CONFLICT (message_id) DO UPDATE SET due_at = EXCLUDED.due_at, expires_at = EXCLUDED.expires_at, claimed_by = NULL, claimed_at = NULL;
    END IF;
    RETURN 'K';
END $$;

-- As in 001. What is still reserved of messages that nobody will ever hear of again goes back.
CREATE OR REPLACE FUNCTION drop_partitions(messages_days INTEGER, audit_days INTEGER) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    r RECORD;
    kept INTEGER;
    dropped INTEGER := 0;
    money JSONB;
BEGIN
    PERFORM pg_advisory_xact_lock(7305804402);
    FOR r IN SELECT p.relname AS parent, c.relname AS child FROM pg_inherits i
             JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
             WHERE p.relname IN ('messages', 'message_parts', 'tbl_api_requests', 'tbl_permission_audit')
               AND c.relkind = 'r' AND c.relname ~ '_p[0-9]{8}$' LOOP
        kept := CASE WHEN r.parent IN ('messages', 'message_parts') THEN messages_days ELSE audit_days END;
        IF kept > 0 AND to_date(right(r.child, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date - kept THEN
            IF r.parent = 'messages' THEN
                EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', r.child);
                EXECUTE format('SELECT jsonb_agg(to_jsonb(g)) FROM (SELECT user_id, campaign_id, 0 AS captured, sum(price) AS released, '
                    'sum(price) AS given_back, 0 AS captures, count(*) AS releases FROM %I WHERE charge IN (''A'', ''D'') GROUP BY 1, 2) g', r.child) INTO money;
                IF money IS NOT NULL THEN
                    PERFORM book_settled(money);
                END IF;
            END IF;
            EXECUTE format('DROP TABLE %I', r.child);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;

-- Whole hours of the ledger become one row for each customer, kind and reference. Returns how many rows there were.
CREATE FUNCTION fold_ledger(p_before TIMESTAMPTZ DEFAULT date_trunc('hour', now()), p_most INTEGER DEFAULT 100000) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    gone INTEGER;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7305804415) THEN
        RETURN 0;
    END IF;
    WITH old AS (
        DELETE FROM tbl_ledger WHERE entry_id IN (
            SELECT entry_id FROM tbl_ledger WHERE NOT folded AND kind IN ('RESERVE', 'CAPTURE', 'RELEASE') AND created_at < p_before
            ORDER BY created_at LIMIT p_most)
        RETURNING *
    ), kept AS (
        INSERT INTO tbl_ledger (customer_id, kind, amount, held, messages, reference, folded, created_at)
        SELECT customer_id, kind, sum(amount), sum(held), sum(messages), reference, TRUE, max(created_at) FROM old
        GROUP BY customer_id, kind, reference, date_trunc('hour', created_at)
    ) SELECT count(*) INTO gone FROM old;
    RETURN gone;
END $$;

-- Hours of usage are kept for so many days.
CREATE FUNCTION forget_hours(p_days INTEGER DEFAULT 93) RETURNS VOID LANGUAGE sql AS $$
    DELETE FROM tbl_quota_usage WHERE period_type = 'HOURLY' AND period_date < (now() AT TIME ZONE 'UTC')::date - p_days
$$;
