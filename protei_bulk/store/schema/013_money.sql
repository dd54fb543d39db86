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

    FOR r IN SELECT c, sum(a) AS a, COALESCE(sum(h), 0) AS h, COALESCE(sum(b), 0)::bigint AS n,
                    CASE WHEN min(k) = max(k) THEN 'campaign ' || min(k) ELSE max(d)::text END AS reference
             FROM json_to_recordset(p_charges) AS x (c BIGINT, a NUMERIC, h NUMERIC, b BIGINT, k BIGINT, d DATE) WHERE a > 0 GROUP BY c ORDER BY c LOOP
        IF refused_ids = '{}' THEN
            UPDATE customers SET balance = balance - r.a WHERE id = r.c AND balance + credit_limit >= r.a;
            IF FOUND THEN
                PERFORM book_taken(r.c, r.a, r.h, r.n, r.reference);
                CONTINUE;
            END IF;
        END IF;
        SELECT balance + credit_limit INTO funds FROM customers WHERE id = r.c FOR UPDATE;
        WITH running AS (
            SELECT x.i, x.ch, COALESCE(x.p, 0) AS p, sum(COALESCE(x.p, 0)) OVER (ORDER BY x.i COLLATE "C") AS upto
            FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, p NUMERIC, ch TEXT)
            JOIN users ON users.id = x.u AND users.customer_id = r.c
            WHERE x.i <> ALL (refused_ids)
        ) SELECT array_agg(i) FILTER (WHERE upto > funds AND p > 0) AS out, COALESCE(sum(p) FILTER (WHERE upto <= funds), 0) AS a,
                 COALESCE(sum(p) FILTER (WHERE upto <= funds AND ch IS NOT NULL), 0) AS h, count(*) FILTER (WHERE upto <= funds AND p > 0) AS n
          INTO taken FROM running;
        IF taken.a > 0 THEN
            UPDATE customers SET balance = balance - taken.a WHERE id = r.c;
            PERFORM book_taken(r.c, taken.a, taken.h, taken.n, r.reference);
        END IF;
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
            service_type, shown_id, long_id, long_part, long_total, long_merged, route, charge)
    -- What few messages have stands together in "m": each column of a record costs every row, whether it is there or not.
    SELECT x.i, x.k, x.u, x.f, x.t, x.x, x.h, x.z, x.q, decode(x.m ->> 'b', 'hex'), decode(x.m ->> 'l', 'hex'), COALESCE((x.m ->> 'd')::smallint, 0),
           COALESCE((x.m ->> 'e')::smallint, 0), COALESCE((x.m ->> 'pi')::smallint, 0), COALESCE(x.r, 0), x.o, COALESCE((x.m ->> 'y')::smallint, 1), x.s,
           COALESCE((x.m ->> 'p')::numeric, 0), x.m -> 'tl', x.m ->> 'du', to_timestamp((x.m ->> 'v')::float8), x.m ->> 'st', x.m ->> 'si', x.m ->> 'li',
           (x.m ->> 'ln')::smallint, (x.m ->> 'lt')::smallint, (x.m ->> 'lm')::boolean, x.rt, x.m ->> 'ch'
    FROM json_to_recordset(p_rows) AS x (i TEXT, k BIGINT, u BIGINT, f TEXT, t TEXT, x TEXT, h TEXT, z TEXT, q TEXT, r SMALLINT, o INTEGER, s SMALLINT,
           rt TEXT, m JSONB)
    WHERE whole OR x.i <> ALL (refused_ids);
    IF whole THEN
        INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted, segments)
        SELECT u, k, m, n FROM json_to_recordset(p_charges) AS x (u BIGINT, k BIGINT, m INTEGER, n INTEGER);
    ELSE
        INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted, segments)
        SELECT u, k, count(*), sum(s) FROM json_to_recordset(p_rows) AS x (i TEXT, u BIGINT, k BIGINT, s INTEGER) WHERE x.i <> ALL (refused_ids) GROUP BY u, k;
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
-- p_rows: [{i id, z new status, q smsc, x SMSC's id (where it was just sent), d receipt state, e error, c what the SMSC charges}]. What may follow
-- what is model/lifecycle.py; tests compare the two. A message counts as sent once, however often and wherever it goes. What an SMSC took, or was
-- delivered, is captured; what ends without goes back.
CREATE OR REPLACE FUNCTION advance_messages(p_rows JSON, p_node INTEGER, p_journal_id BIGINT, p_journal TEXT,
                                 p_outbox JSON, p_callbacks JSON, p_dequeue JSON, p_parts JSON) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    changed INTEGER := 0;
    money JSONB;
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
            WHERE m.message_id = x.i
              AND m.status IN ('PENDING', 'QUEUED', 'SENT', 'SCHEDULED')
              AND CASE x.z WHEN 'PENDING' THEN FALSE WHEN 'SCHEDULED' THEN m.status = 'PENDING' WHEN 'QUEUED' THEN m.status IN ('PENDING', 'SCHEDULED') ELSE TRUE END
              AND (x.x IS NULL OR m.smpp_msg_id IS DISTINCT FROM x.x)
            RETURNING m.user_id, m.campaign_id, x.z, x.x IS NOT NULL AND m.sent_at = now() AS just_sent, m.sent_at IS NULL AS unsent, x.z NOT IN ('SENT', 'QUEUED', 'SCHEDULED') AS over,
                      x.x IS NOT NULL AS taken, m.route, m.smsc_id, m.segments, m.price, x.c AS cost, m.charge, m.settled_at = now() AS settled
        ), counted AS (
        INSERT INTO tbl_counter_delta (user_id, campaign_id, sent, delivered, failed, failed_unsent)
        SELECT user_id, campaign_id, count(*) FILTER (WHERE just_sent), count(*) FILTER (WHERE z = 'DELIVERED'),
               count(*) FILTER (WHERE over AND z <> 'DELIVERED'), count(*) FILTER (WHERE over AND unsent AND z <> 'DELIVERED')
        FROM moved GROUP BY user_id, campaign_id RETURNING 1
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

-- Folds the sums of the batches into campaigns and usage, by hour, day and month, with the busiest second. DAILY.messages_sent is the quota:
-- accept_messages() counts that. A campaign that gets more messages after all it had were final runs again.
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
    CREATE TEMP TABLE IF NOT EXISTS folding_seconds (user_id BIGINT, campaign_id BIGINT, at TIMESTAMPTZ, accepted INTEGER, segments INTEGER, sent INTEGER,
        delivered INTEGER, failed INTEGER, failed_unsent INTEGER) ON COMMIT DELETE ROWS;
    WITH gone AS (DELETE FROM tbl_counter_delta RETURNING *)
    INSERT INTO folding_seconds SELECT user_id, campaign_id, date_trunc('second', created_at), sum(accepted), sum(segments), sum(sent), sum(delivered),
        sum(failed), sum(failed_unsent) FROM gone GROUP BY 1, 2, 3;
    GET DIAGNOSTICS folded = ROW_COUNT;
    IF folded = 0 THEN
        RETURN 0;
    END IF;
    UPDATE campaigns c SET total_recipients = c.total_recipients + f.accepted, sent_total = c.sent_total + f.sent,
           delivered_count = c.delivered_count + f.delivered, failed_count = c.failed_count + f.failed, failed_unsent = c.failed_unsent + f.failed_unsent,
           status = CASE WHEN c.status = 'COMPLETED' AND f.accepted > 0 THEN 'RUNNING' ELSE c.status END
    FROM (SELECT campaign_id, sum(accepted) AS accepted, sum(sent) AS sent, sum(delivered) AS delivered, sum(failed) AS failed,
                 sum(failed_unsent) AS failed_unsent FROM folding_seconds GROUP BY 1) f WHERE f.campaign_id = c.id;
    UPDATE campaigns c SET status = 'COMPLETED', completed_at = now() FROM folding_seconds f
    WHERE f.campaign_id = c.id AND c.status = 'RUNNING' AND c.day IS NULL AND c.total_recipients > 0
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
    DELETE FROM tbl_tps_seconds WHERE at < now() - interval '30 seconds';
    RETURN folded;
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
