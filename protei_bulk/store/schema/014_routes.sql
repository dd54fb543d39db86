-- Rules of routing, networks, ported numbers and costs in the database; the way of each message; what is routed anew.

CREATE TABLE tbl_routes (
    route_id            BIGSERIAL PRIMARY KEY,
    name                VARCHAR(64) NOT NULL UNIQUE,
    position            INTEGER NOT NULL DEFAULT 100,          -- `order` of a [[route]]: both kinds stand in one order
    enabled             BOOLEAN NOT NULL DEFAULT TRUE,
    match               JSONB NOT NULL DEFAULT '{}',           -- as [route.match]
    targets             JSONB NOT NULL DEFAULT '[]',           -- `to`
    strategy            VARCHAR(20) NOT NULL DEFAULT 'failover',
    weights             JSONB NOT NULL DEFAULT '[]',
    price               NUMERIC(18, 6) NOT NULL DEFAULT 0,     -- of a segment; 0: the rate deck's
    rewrite             JSONB NOT NULL DEFAULT '{}',           -- as [route.rewrite]
    reject              VARCHAR(40) NOT NULL DEFAULT '',
    next_after_receipt  BOOLEAN NOT NULL DEFAULT FALSE,
    created_at          TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at          TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Which network a number belongs to: by the longest prefix, unless it was ported.
CREATE TABLE tbl_networks (
    prefix   VARCHAR(20) COLLATE "C" PRIMARY KEY CHECK (prefix ~ '^[0-9]+$'),
    mccmnc   VARCHAR(6) NOT NULL CHECK (mccmnc ~ '^[0-9]{5,6}$'),
    name     VARCHAR(100) NOT NULL DEFAULT '',
    country  VARCHAR(100) NOT NULL DEFAULT ''
);

CREATE TABLE tbl_ported_numbers (
    number  BIGINT PRIMARY KEY CHECK (number > 0),
    mccmnc  VARCHAR(6) NOT NULL CHECK (mccmnc ~ '^[0-9]{5,6}$')
);

-- What the operator pays for a segment: to a network, to a prefix, or (both empty) to everybody.
CREATE TABLE tbl_smsc_costs (
    cost_id     BIGSERIAL PRIMARY KEY,
    smsc_id     VARCHAR(64) NOT NULL,
    mccmnc      VARCHAR(6) NOT NULL DEFAULT '' CHECK (mccmnc ~ '^([0-9]{3}|[0-9]{5,6})?$'),
    prefix      VARCHAR(20) NOT NULL DEFAULT '' CHECK (prefix ~ '^[0-9]*$'),
    cost        NUMERIC(18, 6) NOT NULL CHECK (cost >= 0),
    currency    VARCHAR(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    valid_from  TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
    CHECK (mccmnc = '' OR prefix = ''),
    UNIQUE (smsc_id, mccmnc, prefix, valid_from)
);

-- Every node has these in memory: once a statement, tell them which table changed.
CREATE FUNCTION notify_routes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('protei_routes', TG_TABLE_NAME::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tbl_routes_changed AFTER INSERT OR UPDATE OR DELETE ON tbl_routes FOR EACH STATEMENT EXECUTE FUNCTION notify_routes();
CREATE TRIGGER tbl_networks_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tbl_networks FOR EACH STATEMENT EXECUTE FUNCTION notify_routes();
CREATE TRIGGER tbl_ported_numbers_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tbl_ported_numbers
    FOR EACH STATEMENT EXECUTE FUNCTION notify_routes();
CREATE TRIGGER tbl_smsc_costs_changed AFTER INSERT OR UPDATE OR DELETE ON tbl_smsc_costs FOR EACH STATEMENT EXECUTE FUNCTION notify_routes();

-- How each node sees each SMSC of its configuration, and what share of the messages it sent there was delivered.
CREATE TABLE tbl_smsc_states (
    node_id     SMALLINT NOT NULL,
    smsc_id     VARCHAR(64) NOT NULL,
    state       VARCHAR(10) NOT NULL CHECK (state IN ('BOUND', 'DOWN', 'DEGRADED', 'PROBING')),
    since       TIMESTAMPTZ NOT NULL DEFAULT now(),
    delivered   DOUBLE PRECISION NOT NULL DEFAULT 0,           -- decayed counts, as of updated_at
    finished    DOUBLE PRECISION NOT NULL DEFAULT 0,
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (node_id, smsc_id)
) WITH (fillfactor = 50);

-- The rule that chose the way of a message, and the SMSCs that took it in vain: "SMSC:STAT:ERR", a word each.
ALTER TABLE messages
    ADD COLUMN route  VARCHAR(64),
    ADD COLUMN tried  TEXT;
ALTER TABLE tbl_message_queue ADD COLUMN refusals SMALLINT NOT NULL DEFAULT 0;  -- how often an SMSC refused it for a while
