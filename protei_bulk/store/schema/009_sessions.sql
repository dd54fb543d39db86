-- Binds by certificate, binds counted over all nodes, traces.

-- The certificate that an account's binds must present (its subject's CN, or a name of its subjectAltName; '': none),
-- and whether it may bind without TLS.
ALTER TABLE users ADD COLUMN smpp_tls_identity VARCHAR(255) NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN smpp_require_tls BOOLEAN NOT NULL DEFAULT FALSE;

-- New sessions of one node, several at once: what each account may still have is inserted, the rest is not.
-- p_rows: t token, u user, s system_id, b bind type, i address, p port, m binds it may have (0: no limit), h how many of
-- its sessions this node holds now (its rows here may be older than that).
-- What other nodes hold counts while they live: a node that died keeps nobody out.
CREATE FUNCTION open_smpp_sessions(p_rows JSON, p_node INTEGER, p_alive_seconds INTEGER)
RETURNS TABLE (token TEXT, id BIGINT) LANGUAGE plpgsql AS $$
BEGIN
    -- Accounts with a limit, one after the other, always in the same order: two nodes see each other's rows.
    PERFORM pg_advisory_xact_lock((728::bigint << 48) | x.u)
    FROM (SELECT DISTINCT r.u FROM json_to_recordset(p_rows) AS r (u BIGINT, m INTEGER) WHERE r.m > 0 ORDER BY r.u) AS x;
    RETURN QUERY
    WITH asked AS (
        SELECT r.*, row_number() OVER (PARTITION BY r.u ORDER BY r.n) AS place
        FROM json_to_recordset(p_rows) AS r (n INTEGER, t TEXT, u BIGINT, s TEXT, b TEXT, i INET, p INTEGER, m INTEGER, h INTEGER)
    ), elsewhere AS (
        SELECT a.u, count(s.session_id) AS held
        FROM (SELECT DISTINCT asked.u FROM asked WHERE asked.m > 0) AS a
        JOIN tbl_smpp_sessions s ON s.user_id = a.u AND s.status = 'BOUND' AND s.node_id <> p_node
        JOIN tbl_nodes n ON n.node_id = s.node_id AND n.heartbeat_at > now() - make_interval(secs => p_alive_seconds)
        GROUP BY a.u
    )
    INSERT INTO tbl_smpp_sessions (user_id, system_id, bind_type, remote_ip, remote_port, session_token, node_id)
    SELECT a.u, a.s, a.b, a.i, a.p, a.t, p_node
    FROM asked a LEFT JOIN elsewhere e ON e.u = a.u
    WHERE a.m = 0 OR a.h + COALESCE(e.held, 0) + a.place <= a.m
    RETURNING session_token::text, session_id;
END $$;

-- What operators look at: PDUs of an account or of a connector, until then. Every node writes them to its own log.
CREATE TABLE tbl_traces (
    kind        VARCHAR(8) NOT NULL CHECK (kind IN ('USER', 'SMSC')),
    name        VARCHAR(100) NOT NULL,               -- of the user, or the connector's id
    until       TIMESTAMPTZ NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, name)
);
