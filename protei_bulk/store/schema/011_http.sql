-- Rate limits shared by all nodes, answers kept for Idempotency-Key, secrets and history of callbacks.

-- Rate limits -------------------------------------------------------------------------------------
-- A node leases tokens of a budget and answers requests with them, from memory; it tells of their use when it asks for more.
-- Tokens that a node holds count as used by everybody else, so the sum over all nodes never exceeds a limit.

-- A process that may hold tokens. One that has not been heard of by expires_at may spend none any more.
CREATE TABLE tbl_rate_holders (
    holder_id   BIGSERIAL PRIMARY KEY,
    node_id     SMALLINT NOT NULL,
    last_seq    BIGINT NOT NULL DEFAULT 0,           -- of its statements: an older one that comes late is not applied
    expires_at  TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE tbl_rate_budgets (
    policy      VARCHAR(64) NOT NULL,                -- name and numbers: other numbers are another budget
    key         VARCHAR(64) NOT NULL,
    full_at     DOUBLE PRECISION NOT NULL DEFAULT 0, -- of a bucket: Unix time at which it is full again
    counts      JSONB NOT NULL DEFAULT '{}',         -- of a window: requests by slice of it
    held        JSONB NOT NULL DEFAULT '{}',         -- tokens by holder
    clean_at    TIMESTAMPTZ NOT NULL DEFAULT now(),  -- from then on this row says no more than none would
    touched_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (policy, key)
) WITH (fillfactor = 50);
CREATE INDEX tbl_rate_budgets_touched ON tbl_rate_budgets (touched_at);

-- A new holder of a node; those that it had before are at an end.
CREATE FUNCTION register_rate_holder(p_node INTEGER, p_term DOUBLE PRECISION) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    id BIGINT;
BEGIN
    UPDATE tbl_rate_holders SET expires_at = now() WHERE node_id = p_node AND expires_at > now();
    INSERT INTO tbl_rate_holders (node_id, expires_at) VALUES (p_node, now() + make_interval(secs => p_term)) RETURNING holder_id INTO id;
    RETURN id;
END $$;

-- Takes in what a holder says of several budgets and leases it tokens. NULL: the holder has expired and must register anew.
-- p_rows: p policy, k key; i seconds a token and b most tokens (a bucket), or n requests in w seconds (a window);
--   u [[seconds ago, tokens used], ...], oldest first; h tokens that it still holds; a tokens that it asks for.
-- Result, in the order of p_rows: [[granted, still there, held by others, seconds until there is one more, seconds until it is full], ...]
-- A bucket is GCRA; a window counts in 60 slices, and a slice stays until its end is older than the window.
CREATE FUNCTION lease_rates(p_holder BIGINT, p_seq BIGINT, p_term DOUBLE PRECISION, p_rows JSON) RETURNS JSON LANGUAGE plpgsql AS $$
DECLARE
    r RECORD;
    b tbl_rate_budgets;
    e RECORD;
    nodes INTEGER;
    present DOUBLE PRECISION;
    slice DOUBLE PRECISION;
    others INTEGER;
    used INTEGER;
    room INTEGER;
    granted INTEGER;
    again DOUBLE PRECISION;
    full_in DOUBLE PRECISION;
    tally JSONB;
    holding JSONB;
    answers JSONB := '{}';
BEGIN
    UPDATE tbl_rate_holders SET last_seq = p_seq, expires_at = clock_timestamp() + make_interval(secs => p_term)
    WHERE holder_id = p_holder AND last_seq < p_seq AND expires_at > clock_timestamp();
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT count(*) INTO nodes FROM tbl_rate_holders WHERE expires_at > now();
    -- Always in the same order: two nodes that want the same budgets do not wait for each other crosswise.
    FOR r IN SELECT x.*, row_number() OVER () AS place
             FROM json_to_recordset(p_rows) AS x (p TEXT, k TEXT, i DOUBLE PRECISION, b INTEGER, n INTEGER, w DOUBLE PRECISION, u JSONB, h INTEGER, a INTEGER)
             ORDER BY x.p, x.k LOOP
        INSERT INTO tbl_rate_budgets (policy, key) VALUES (r.p, r.k) ON CONFLICT DO NOTHING;
        SELECT * INTO b FROM tbl_rate_budgets WHERE policy = r.p AND key = r.k FOR UPDATE;
        present := extract(epoch FROM clock_timestamp());
        slice := r.w / 60;
        others := 0;
        holding := '{}';
        tally := b.counts;
        -- Uses: those that the holder tells of, and all that was held by one that has expired, at that moment.
        FOR e IN
            SELECT present - (v ->> 0)::float8 AS at, (v ->> 1)::integer AS tokens, NULL::bigint AS holder, TRUE AS spent
            FROM jsonb_array_elements(COALESCE(r.u, '[]')) AS v
            UNION ALL
            SELECT extract(epoch FROM o.expires_at)::float8, t.value::integer, t.key::bigint, o.expires_at <= clock_timestamp()
            FROM jsonb_each_text(b.held) AS t LEFT JOIN tbl_rate_holders o ON o.holder_id = t.key::bigint
            WHERE t.key::bigint <> p_holder
            ORDER BY at
        LOOP
            IF NOT e.spent THEN
                others := others + e.tokens;
                holding := jsonb_set(holding, ARRAY[e.holder::text], to_jsonb(e.tokens));
            ELSIF e.at IS NULL THEN
                NULL;  -- of a holder so long gone that it is forgotten
            ELSIF r.i IS NOT NULL THEN
                b.full_at := GREATEST(b.full_at, e.at) + e.tokens * r.i;
            ELSE
                tally := jsonb_set(tally, ARRAY[floor(e.at / slice)::bigint::text],
                                    to_jsonb(COALESCE((tally ->> floor(e.at / slice)::bigint::text)::integer, 0) + e.tokens));
            END IF;
        END LOOP;
        IF r.i IS NOT NULL THEN
            full_in := GREATEST(b.full_at - present, 0);
            room := floor(r.b - full_in / r.i - others - r.h + 1e-6);
        ELSE
            SELECT COALESCE(jsonb_object_agg(t.key, t.value::integer), '{}'), COALESCE(sum(t.value::integer), 0),
                   min((t.key::bigint + 1) * slice) + r.w - present
            INTO tally, used, again FROM jsonb_each_text(tally) AS t WHERE (t.key::bigint + 1) * slice > present - r.w;
            room := r.n - used - others - r.h;
            again := COALESCE(again, 1);
            full_in := CASE WHEN used = 0 THEN 0 ELSE (SELECT max((t.key::bigint + 1) * slice) FROM jsonb_each_text(tally) AS t) + r.w - present END;
        END IF;
        room := GREATEST(room, 0);
        -- Alone, a node may have all of it; with others it takes its part of what is there, so that something is left for them.
        granted := LEAST(r.a, ceil(room::float8 / GREATEST(nodes, 1))::integer);
        IF r.i IS NOT NULL THEN
            again := full_in - (r.b - others - r.h - granted - 1) * r.i;
        END IF;
        IF r.h + granted > 0 THEN
            holding := jsonb_set(holding, ARRAY[p_holder::text], to_jsonb(r.h + granted));
        END IF;
        IF r.a > 0 AND granted = 0 AND others > 0 THEN
            PERFORM pg_notify('protei_rates', r.p || ' ' || r.k);
        END IF;
        UPDATE tbl_rate_budgets t SET full_at = b.full_at, counts = tally, held = holding, touched_at = now(),
               clean_at = to_timestamp(present + GREATEST(full_in, 0))
        WHERE t.policy = r.p AND t.key = r.k;
        answers := answers || jsonb_build_object(r.place::text, jsonb_build_array(granted, room - granted, others, GREATEST(again, 0.001), full_in));
    END LOOP;
    RETURN (SELECT COALESCE(json_agg(a.value ORDER BY a.key::integer), '[]') FROM jsonb_each(answers) AS a);
END $$;

-- Idempotency-Key ---------------------------------------------------------------------------------
-- The row is there before the first message of its request; all of them are messages of its campaign. Whoever finds a request
-- that was not finished by a process that is gone looks which are stored, and stores the others.

CREATE TABLE tbl_idempotency_keys (
    user_id          BIGINT NOT NULL,
    idempotency_key  VARCHAR(255) NOT NULL,
    body_hash        VARCHAR(64) NOT NULL,           -- SHA-256 of the request's body, in hex
    campaign         BIGINT NOT NULL,                -- campaigns.id, where any message was stored
    owner            VARCHAR(32) NOT NULL,           -- of whoever is at it
    response_status  SMALLINT,                       -- NULL: not finished
    content_type     VARCHAR(50),
    response_body    TEXT,
    created_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    touched_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, idempotency_key)
);
CREATE INDEX tbl_idempotency_keys_created ON tbl_idempotency_keys (created_at);

-- What to do with a request: state NEW or RESUMED (do it, with this campaign), DONE (its answer is there), OTHER (the key has another
-- body), BUSY (somebody is at it; wait in seconds until he certainly is not, unless he says so again).
CREATE FUNCTION claim_idempotency_key(p_user BIGINT, p_key TEXT, p_hash TEXT, p_owner TEXT, p_lease DOUBLE PRECISION, p_keep DOUBLE PRECISION)
RETURNS TABLE (state TEXT, number BIGINT, status SMALLINT, kind TEXT, body TEXT, wait DOUBLE PRECISION, began TIMESTAMPTZ, ended TIMESTAMPTZ)
LANGUAGE plpgsql AS $$
DECLARE
    k tbl_idempotency_keys;
BEGIN
    LOOP
        DELETE FROM tbl_idempotency_keys WHERE user_id = p_user AND idempotency_key = p_key AND created_at < now() - make_interval(secs => p_keep);
        INSERT INTO tbl_idempotency_keys (user_id, idempotency_key, body_hash, campaign, owner)
        VALUES (p_user, p_key, p_hash, nextval('campaigns_id_seq'), p_owner) ON CONFLICT DO NOTHING RETURNING * INTO k;
        IF FOUND THEN
            RETURN QUERY SELECT 'NEW', k.campaign, NULL::smallint, NULL::text, NULL::text, 0::float8, k.created_at, k.touched_at;
            RETURN;
        END IF;
        SELECT * INTO k FROM tbl_idempotency_keys WHERE user_id = p_user AND idempotency_key = p_key FOR UPDATE;
        EXIT WHEN FOUND;  -- else it was released just now
    END LOOP;
    IF k.body_hash <> p_hash THEN
        RETURN QUERY SELECT 'OTHER', NULL::bigint, NULL::smallint, NULL::text, NULL::text, 0::float8, k.created_at, k.touched_at;
    ELSIF k.response_status IS NOT NULL THEN
        RETURN QUERY SELECT 'DONE', k.campaign, k.response_status, k.content_type::text, k.response_body, 0::float8, k.created_at, k.touched_at;
    ELSIF k.touched_at > now() - make_interval(secs => p_lease) THEN
        RETURN QUERY SELECT 'BUSY', NULL::bigint, NULL::smallint, NULL::text, NULL::text,
            extract(epoch FROM k.touched_at + make_interval(secs => p_lease) - now())::float8, k.created_at, k.touched_at;
    ELSE
        UPDATE tbl_idempotency_keys t SET owner = p_owner, touched_at = now() WHERE t.user_id = p_user AND t.idempotency_key = p_key;
        RETURN QUERY SELECT 'RESUMED', k.campaign, NULL::smallint, NULL::text, NULL::text, 0::float8, k.created_at, k.touched_at;
    END IF;
END $$;

-- Callbacks ---------------------------------------------------------------------------------------

-- What was delivered stays for a while, for customers who ask. Messages from mobiles (MO-...) have rows of their own that tell.
ALTER TABLE tbl_callback_outbox DROP CONSTRAINT tbl_callback_outbox_status_check;
ALTER TABLE tbl_callback_outbox ADD CONSTRAINT tbl_callback_outbox_status_check CHECK (status IN ('PENDING', 'PARKED', 'DELIVERED'));
ALTER TABLE tbl_callback_outbox ADD COLUMN delivered_at TIMESTAMPTZ;
CREATE INDEX tbl_callback_outbox_user ON tbl_callback_outbox (user_id, callback_id);
CREATE INDEX tbl_callback_outbox_delivered ON tbl_callback_outbox (delivered_at) WHERE status = 'DELIVERED';
CREATE INDEX tbl_callback_outbox_created ON tbl_callback_outbox (created_at);

-- Secrets are derived from the node's, the account and this version (none: 1). Until previous_until the version before is signed with too.
CREATE TABLE tbl_callback_secrets (
    user_id         BIGINT PRIMARY KEY,
    version         INTEGER NOT NULL,
    previous_until  TIMESTAMPTZ
);
