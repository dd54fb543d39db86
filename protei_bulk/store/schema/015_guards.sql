-- Guards: blacklists, opt-outs, countries, duplicates, and what the velocity guard has found.

ALTER TABLE users
    ADD COLUMN duplicate_seconds INTEGER NOT NULL DEFAULT 0 CHECK (duplicate_seconds BETWEEN 0 AND 86400),
    ADD COLUMN transactional BOOLEAN NOT NULL DEFAULT FALSE,       -- its messages go to those who opted out, too
    ADD COLUMN velocity VARCHAR(10) NOT NULL DEFAULT 'node' CHECK (velocity IN ('node', 'off', 'alert', 'pause'));
ALTER TABLE customers
    ADD COLUMN allowed_countries JSONB NOT NULL DEFAULT '[]',      -- ISO 3166-1 alpha-2; empty: all
    ADD COLUMN blocked_countries JSONB NOT NULL DEFAULT '[]';
CREATE TRIGGER customers_countries_changed AFTER UPDATE OF allowed_countries, blocked_countries ON customers
    FOR EACH ROW EXECUTE FUNCTION notify_account_change();

-- Lists that every node has in memory. A version is higher than all that were committed before it, for writers come one by one: a node
-- reads what is above the last one it knows. What was removed stays for a while, so that all hear of it.
CREATE SEQUENCE guard_versions;

CREATE TABLE tbl_blacklist (
    entry_id     BIGSERIAL PRIMARY KEY,
    customer_id  BIGINT NOT NULL DEFAULT 0,                        -- 0: for everybody
    number       BIGINT NOT NULL CHECK (number > 0 AND number < 1000000000000000000),
    is_prefix    BOOLEAN NOT NULL DEFAULT FALSE,
    reason       VARCHAR(200) NOT NULL DEFAULT '',
    active       BOOLEAN NOT NULL DEFAULT TRUE,
    version      BIGINT NOT NULL DEFAULT nextval('guard_versions'),
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    changed_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (customer_id, is_prefix, number)
);
CREATE INDEX tbl_blacklist_versions ON tbl_blacklist (version);

-- Who does not want to hear from a customer any more, or again: appended to only.
CREATE TABLE tbl_opt_outs (
    opt_out_id   BIGSERIAL PRIMARY KEY,
    customer_id  BIGINT NOT NULL,
    number       BIGINT NOT NULL CHECK (number > 0 AND number < 1000000000000000000),
    sender       VARCHAR(21) NOT NULL DEFAULT '',                  -- in lower case; empty: whatever the sender
    opted_out    BOOLEAN NOT NULL,
    source       VARCHAR(10) NOT NULL CHECK (source IN ('MO', 'API', 'PORTAL', 'IMPORT', 'CLI')),
    message_id   VARCHAR(64),                                      -- of the message from the mobile
    actor_id     BIGINT,
    note         VARCHAR(200) NOT NULL DEFAULT '',
    at           TIMESTAMPTZ NOT NULL DEFAULT now(),
    recorded_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX tbl_opt_outs_message ON tbl_opt_outs (message_id, customer_id, sender) WHERE message_id IS NOT NULL;
CREATE INDEX tbl_opt_outs_number ON tbl_opt_outs (customer_id, number, opt_out_id);

-- What the ledger comes to.
CREATE TABLE tbl_opt_out_state (
    customer_id  BIGINT NOT NULL,
    sender       VARCHAR(21) NOT NULL,
    number       BIGINT NOT NULL,
    opted_out    BOOLEAN NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    version      BIGINT NOT NULL DEFAULT nextval('guard_versions'),
    PRIMARY KEY (customer_id, sender, number)
);
CREATE INDEX tbl_opt_out_state_versions ON tbl_opt_out_state (version);

CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger of opt-outs is appended to only';
END $$;
CREATE TRIGGER tbl_opt_outs_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON tbl_opt_outs FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();

-- What the velocity guard found; a pause is in force until it is released or ends.
CREATE TABLE tbl_velocity_events (
    event_id     BIGSERIAL PRIMARY KEY,
    user_id      BIGINT NOT NULL,
    node_id      SMALLINT NOT NULL,
    kind         VARCHAR(10) NOT NULL CHECK (kind IN ('RANGE', 'COUNTRY')),
    target       VARCHAR(20) NOT NULL,                             -- the first digits, or the country
    region       VARCHAR(3) NOT NULL,
    messages     INTEGER NOT NULL,
    most         INTEGER NOT NULL,
    mode         VARCHAR(10) NOT NULL CHECK (mode IN ('alert', 'pause')),
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    ends_at      TIMESTAMPTZ,
    released_at  TIMESTAMPTZ,
    released_by  BIGINT
);
CREATE UNIQUE INDEX tbl_velocity_events_open ON tbl_velocity_events (user_id, kind, target) WHERE mode = 'pause' AND released_at IS NULL;

CREATE TABLE tbl_velocity_baselines (
    node_id   SMALLINT NOT NULL,
    user_id   BIGINT NOT NULL,
    region    VARCHAR(3) NOT NULL,
    average   DOUBLE PRECISION NOT NULL,
    busiest   DOUBLE PRECISION NOT NULL,
    hours     INTEGER NOT NULL,
    saved_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (node_id, user_id, region)
);

-- Telling the nodes ---------------------------------------------------------------------------------

CREATE FUNCTION queue_guard_writers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7305804417);
    RETURN NULL;
END $$;
CREATE FUNCTION number_guard_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := nextval('guard_versions');
    RETURN NEW;
END $$;
CREATE FUNCTION notify_guards() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('protei_guards', CASE WHEN TG_OP IN ('DELETE', 'TRUNCATE') THEN 'all' ELSE TG_TABLE_NAME::text END);
    RETURN NULL;
END $$;

CREATE TRIGGER tbl_blacklist_queue BEFORE INSERT OR UPDATE ON tbl_blacklist FOR EACH STATEMENT EXECUTE FUNCTION queue_guard_writers();
CREATE TRIGGER tbl_blacklist_number BEFORE UPDATE ON tbl_blacklist FOR EACH ROW EXECUTE FUNCTION number_guard_row();
CREATE TRIGGER tbl_blacklist_changed AFTER INSERT OR UPDATE OR TRUNCATE ON tbl_blacklist FOR EACH STATEMENT EXECUTE FUNCTION notify_guards();
CREATE TRIGGER tbl_blacklist_gone AFTER DELETE ON tbl_blacklist FOR EACH ROW WHEN (OLD.active) EXECUTE FUNCTION notify_guards();
CREATE TRIGGER tbl_opt_out_state_queue BEFORE INSERT OR UPDATE ON tbl_opt_out_state FOR EACH STATEMENT EXECUTE FUNCTION queue_guard_writers();
CREATE TRIGGER tbl_opt_out_state_number BEFORE UPDATE ON tbl_opt_out_state FOR EACH ROW EXECUTE FUNCTION number_guard_row();
CREATE TRIGGER tbl_opt_out_state_changed AFTER INSERT OR UPDATE OR TRUNCATE ON tbl_opt_out_state
    FOR EACH STATEMENT EXECUTE FUNCTION notify_guards();
CREATE TRIGGER tbl_opt_out_state_gone AFTER DELETE ON tbl_opt_out_state FOR EACH ROW WHEN (OLD.opted_out) EXECUTE FUNCTION notify_guards();
CREATE TRIGGER tbl_velocity_events_changed AFTER INSERT OR UPDATE OR DELETE ON tbl_velocity_events
    FOR EACH STATEMENT EXECUTE FUNCTION notify_guards();

-- Changes -------------------------------------------------------------------------------------------

-- p_rows: [{c customer, n number, s sender, o out or in again, r source, m message, a actor, t note, w when in Unix seconds}].
-- Whoever wants to hear again from all senders of a customer hears again from each. A message of a mobile counts once, however often it
-- is told; of what is told out of order, the latest holds. Returns the number of rows appended.
CREATE FUNCTION record_opt_outs(p_rows JSON) RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    appended INTEGER;
BEGIN
    PERFORM pg_advisory_xact_lock(7305804417);
    WITH x AS MATERIALIZED (
        SELECT c, n, lower(COALESCE(s, '')) AS s, o, r, m, a, COALESCE(t, '') AS t, COALESCE(to_timestamp(w), now()) AS w
        FROM json_to_recordset(p_rows) AS y (c BIGINT, n BIGINT, s TEXT, o BOOLEAN, r TEXT, m TEXT, a BIGINT, t TEXT, w DOUBLE PRECISION)
    ), every AS (
        SELECT * FROM x
        UNION ALL
        SELECT x.c, x.n, k.sender, FALSE, x.r, x.m, x.a, x.t, x.w FROM x
        JOIN tbl_opt_out_state k ON k.customer_id = x.c AND k.number = x.n AND k.sender <> '' AND k.opted_out
        WHERE NOT x.o AND x.s = ''
    ), kept AS (
        INSERT INTO tbl_opt_outs (customer_id, number, sender, opted_out, source, message_id, actor_id, note, at)
        SELECT e.c, e.n, e.s, e.o, e.r, e.m, e.a, e.t, e.w FROM every e
        WHERE e.r <> 'IMPORT' OR NOT EXISTS (SELECT 1 FROM tbl_opt_out_state k
            WHERE k.customer_id = e.c AND k.sender = e.s AND k.number = e.n AND k.opted_out = e.o)
        ON CONFLICT DO NOTHING
        RETURNING opt_out_id, customer_id, number, sender, opted_out, at
    ), folded AS (
        INSERT INTO tbl_opt_out_state AS k (customer_id, sender, number, opted_out, at)
        SELECT DISTINCT ON (customer_id, sender, number) customer_id, sender, number, opted_out, at FROM kept
        ORDER BY customer_id, sender, number, at DESC, opt_out_id DESC
        ON CONFLICT (customer_id, sender, number) DO UPDATE SET opted_out = EXCLUDED.opted_out, at = EXCLUDED.at WHERE EXCLUDED.at >= k.at
    )
    SELECT count(*) INTO appended FROM kept;
    RETURN appended;
END $$;

-- p_rows: [{m message from a mobile that was routed, o out or in again}]. p_by_sender: of the number it was sent to alone.
CREATE FUNCTION record_mobile_opt_outs(p_rows JSON, p_by_sender BOOLEAN) RETURNS INTEGER LANGUAGE sql AS $$
    SELECT record_opt_outs(COALESCE(json_agg(json_build_object(
        'c', u.customer_id, 'n', ltrim(ltrim(m.from_addr, '+'), '0'), 's', CASE WHEN p_by_sender THEN m.to_addr ELSE '' END, 'o', x.o, 'r', 'MO',
        'm', m.message_id, 'w', extract(epoch FROM m.received_at)) ORDER BY m.message_id), '[]'))
    FROM json_to_recordset(p_rows) AS x (m TEXT, o BOOLEAN)
    JOIN tbl_mo_messages m ON m.message_id = x.m JOIN users u ON u.id = m.user_id
    WHERE m.from_addr ~ '^\+?0*[1-9][0-9]{2,16}$'
$$;
