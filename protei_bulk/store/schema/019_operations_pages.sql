-- What operators see of connectors and nodes, and what they order: every node writes how its connectors do, and obeys.

-- A connector as the node sees that runs it, written every few seconds. `settings`: what it runs with, without passwords.
CREATE TABLE tbl_smsc_figures (
    node_id     SMALLINT NOT NULL,
    smsc_id     VARCHAR(64) NOT NULL,
    figures     JSONB NOT NULL DEFAULT '{}',
    settings    JSONB,
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (node_id, smsc_id)
) WITH (fillfactor = 50);

CREATE TABLE tbl_node_figures (
    node_id     SMALLINT PRIMARY KEY,
    version     VARCHAR(40) NOT NULL,
    figures     JSONB NOT NULL DEFAULT '{}',
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- What each SMSC took and said, a day (UTC): parts that it took, receipts of parts that were delivered and that were not, parts that it refused.
CREATE TABLE tbl_smsc_usage (
    day        DATE NOT NULL,
    smsc_id    VARCHAR(64) NOT NULL,
    sent       BIGINT NOT NULL DEFAULT 0,
    delivered  BIGINT NOT NULL DEFAULT 0,
    failed     BIGINT NOT NULL DEFAULT 0,
    refused    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (day, smsc_id)
) WITH (fillfactor = 50);

-- What an operator has ordered for a connector: it holds on whichever node runs it, over restarts, until he takes it back.
CREATE TABLE tbl_smsc_orders (
    smsc_id     VARCHAR(64) PRIMARY KEY,
    paused      BOOLEAN NOT NULL DEFAULT FALSE,                -- nothing is sent; the binds stay
    reason      VARCHAR(200) NOT NULL DEFAULT '',
    max_tps     INTEGER CHECK (max_tps BETWEEN 0 AND 1000000), -- instead of the configuration's; 0: no limit
    reconnects  BIGINT NOT NULL DEFAULT 0,                     -- raised by one for each order to bind anew
    changed_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    changed_by  BIGINT
);

ALTER TABLE tbl_smsc_states DROP CONSTRAINT tbl_smsc_states_state_check;
ALTER TABLE tbl_smsc_states ADD CONSTRAINT tbl_smsc_states_state_check CHECK (state IN ('BOUND', 'DOWN', 'DEGRADED', 'PROBING', 'PAUSED'));

-- Messages that wait for a person: few as a rule, and not to be looked for among those of paused campaigns.
CREATE INDEX tbl_message_queue_doubt ON tbl_message_queue (smsc_id, message_id)
    WHERE due_at = 'infinity' AND held_for IS NULL AND claimed_by IS NULL;

CREATE INDEX tbl_smpp_sessions_user ON tbl_smpp_sessions (user_id, session_id);
CREATE INDEX tbl_permission_audit_action ON tbl_permission_audit (action, created_at);
CREATE INDEX tbl_permission_audit_actor ON tbl_permission_audit (actor_id, created_at) WHERE actor_id IS NOT NULL;
CREATE INDEX tbl_permission_audit_address ON tbl_permission_audit (ip_address, created_at);
