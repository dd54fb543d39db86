-- Recipients of campaigns: uploaded files, contact lists, and the jobs that read them in processes of their own.

CREATE TABLE uploads (
    upload_id    BIGSERIAL PRIMARY KEY,
    user_id      BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    customer_id  BIGINT NOT NULL,
    name         VARCHAR(200) NOT NULL,
    size         BIGINT NOT NULL CHECK (size > 0),         -- octets, as was said at the beginning
    piece_size   INTEGER NOT NULL,
    state        VARCHAR(10) NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'checking', 'ready', 'refused')),
    code         VARCHAR(40) NOT NULL DEFAULT '',          -- of one that was refused: why
    detail       VARCHAR(300) NOT NULL DEFAULT '',
    preview      JSONB,                                    -- see campaigns/preview.py
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX uploads_of ON uploads (user_id, upload_id);
CREATE INDEX uploads_expiry ON uploads (expires_at);

CREATE TABLE tbl_upload_pieces (
    upload_id    BIGINT NOT NULL REFERENCES uploads (upload_id) ON DELETE CASCADE,
    piece        INTEGER NOT NULL,                         -- from 0
    body         BYTEA NOT NULL,
    PRIMARY KEY (upload_id, piece)
);
ALTER TABLE tbl_upload_pieces ALTER COLUMN body SET STORAGE EXTERNAL;

-- The number of a new upload; NULL where the account has so many already. One that was refused does not count; the oldest ones that
-- no draft, no job and no browser needs any more make room.
CREATE FUNCTION open_upload(p_user BIGINT, p_customer BIGINT, p_name TEXT, p_size BIGINT, p_piece INTEGER, p_hours INTEGER, p_most INTEGER)
RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    made BIGINT;
BEGIN
    PERFORM 1 FROM users WHERE id = p_user FOR NO KEY UPDATE;  -- one at a time
    DELETE FROM uploads WHERE upload_id IN (
        SELECT u.upload_id FROM uploads u WHERE u.user_id = p_user AND u.state <> 'refused'
           AND NOT (u.state IN ('open', 'checking') AND u.created_at > now() - interval '1 hour')
           AND NOT EXISTS (SELECT 1 FROM campaigns c JOIN campaign_plans p ON p.campaign_id = c.id
                           WHERE c.user_id = p_user AND c.planned AND c.status = 'DRAFT'
                             AND p.draft -> 'recipients' ->> 'upload' = u.upload_id::text)
           AND NOT EXISTS (SELECT 1 FROM tbl_recipient_jobs j WHERE j.kind = 'I' AND j.given ->> 'upload' = u.upload_id::text)
        ORDER BY u.upload_id
        LIMIT GREATEST(0, 1 - p_most + (SELECT count(*) FROM uploads WHERE user_id = p_user AND state <> 'refused' AND expires_at > now())));
    IF (SELECT count(*) FROM uploads WHERE user_id = p_user AND state <> 'refused' AND expires_at > now()) >= p_most THEN
        RETURN NULL;
    END IF;
    INSERT INTO uploads (user_id, customer_id, name, size, piece_size, expires_at)
    VALUES (p_user, p_customer, left(p_name, 200), p_size, p_piece, now() + make_interval(hours => p_hours)) RETURNING upload_id INTO made;
    RETURN made;
END $$;

CREATE TABLE contact_lists (
    list_id      BIGSERIAL PRIMARY KEY,
    customer_id  BIGINT NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    name         VARCHAR(100) NOT NULL,
    groups       JSONB NOT NULL DEFAULT '[]',              -- names: a group is all lists that have its name here
    size         INTEGER NOT NULL DEFAULT 0,
    importing    JSONB,                                    -- how far the last import is, and what became of it
    created_by   BIGINT,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    changed_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    removed_at   TIMESTAMPTZ                               -- it goes for good a day later
);
CREATE INDEX contact_lists_of ON contact_lists (customer_id, list_id);
CREATE UNIQUE INDEX contact_lists_names ON contact_lists (customer_id, lower(name)) WHERE removed_at IS NULL;
CREATE INDEX contact_lists_removed ON contact_lists (removed_at) WHERE removed_at IS NOT NULL;

CREATE TABLE contacts (
    list_id      BIGINT NOT NULL REFERENCES contact_lists (list_id) ON DELETE CASCADE,
    msisdn       VARCHAR(20) COLLATE "C" NOT NULL,         -- E.164 without the plus
    name         VARCHAR(200) NOT NULL DEFAULT '',
    variables    JSONB NOT NULL DEFAULT '{}',
    PRIMARY KEY (list_id, msisdn)
);
CREATE INDEX contacts_names ON contacts (list_id, lower(name) COLLATE "C", msisdn);

-- What was taken out of lists stays for a day, so that it can be put back: those of one removal together.
CREATE SEQUENCE contact_removals;
CREATE TABLE contacts_removed (
    removal      BIGINT NOT NULL,
    list_id      BIGINT NOT NULL REFERENCES contact_lists (list_id) ON DELETE CASCADE,
    msisdn       VARCHAR(20) NOT NULL,
    name         VARCHAR(200) NOT NULL,
    variables    JSONB NOT NULL,
    removed_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (removal, list_id, msisdn)
);
CREATE INDEX contacts_removed_at ON contacts_removed (removed_at);

CREATE FUNCTION count_contacts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE contact_lists l SET size = l.size + n.more, changed_at = now()
    FROM (SELECT list_id, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END AS more FROM changed GROUP BY list_id) n
    WHERE l.list_id = n.list_id;
    RETURN NULL;
END $$;
CREATE TRIGGER contacts_added AFTER INSERT ON contacts REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_contacts();
CREATE TRIGGER contacts_gone AFTER DELETE ON contacts REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_contacts();

-- What a node reads files and lists for, in a process of its own: there while it waits or runs. A node that has not said for a while
-- that it goes on has lost it to whoever finds it first.
CREATE SEQUENCE recipient_job_tokens;
CREATE TABLE tbl_recipient_jobs (
    kind         CHAR(1) NOT NULL CHECK (kind IN ('P', 'G', 'M', 'I')),  -- preview of an upload, gather or measure a campaign, import into a list
    subject      BIGINT NOT NULL,                          -- the upload, the campaign, the list
    token        BIGINT NOT NULL DEFAULT nextval('recipient_job_tokens'),  -- whoever began it anew has another one
    node_id      SMALLINT NOT NULL,
    given        JSONB NOT NULL DEFAULT '{}',
    attempts     SMALLINT NOT NULL DEFAULT 0,
    beat_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, subject)
);

-- Begins a job, or begins it anew. Returns its token; NULL where there is nothing to do it for.
CREATE FUNCTION begin_recipient_job(p_kind TEXT, p_subject BIGINT, p_node INTEGER, p_given JSONB) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    waiting JSONB := '{"state": "waiting", "done": 0, "of": 0, "accepted": 0, "refused": {}, "error": ""}';
    made    BIGINT;
BEGIN
    PERFORM 1 FROM tbl_recipient_jobs WHERE kind = p_kind AND subject = p_subject FOR UPDATE;  -- all lock the job first
    IF p_kind = 'G' THEN
        UPDATE campaign_plans p SET gathering = waiting || jsonb_build_object('version', p.version)
        FROM campaigns c WHERE p.campaign_id = p_subject AND c.id = p_subject AND c.planned AND c.status = 'DRAFT';
    ELSIF p_kind = 'M' THEN
        UPDATE campaign_plans p SET measured = waiting || jsonb_build_object('version', p.version) WHERE p.campaign_id = p_subject;
    ELSIF p_kind = 'I' THEN
        UPDATE contact_lists SET importing = waiting WHERE list_id = p_subject AND removed_at IS NULL;
    ELSE
        UPDATE uploads u SET state = 'checking', code = '', detail = '' WHERE u.upload_id = p_subject AND (u.state IN ('open', 'checking') OR u.state = 'ready' AND p_given <> '{}')
            AND u.size = (SELECT sum(length(t.body)) FROM tbl_upload_pieces t WHERE t.upload_id = p_subject);
    END IF;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO tbl_recipient_jobs AS j (kind, subject, node_id, given) VALUES (p_kind, p_subject, p_node, p_given)
    ON CONFLICT (kind, subject) DO UPDATE
    SET token = EXCLUDED.token, node_id = EXCLUDED.node_id, given = EXCLUDED.given, attempts = 0, beat_at = now()
    RETURNING j.token INTO made;
    RETURN made;
END $$;

-- How far a job is, or how it ended (`p_final`). FALSE where it is not this token's any more: whoever asked must stop, and keep nothing.
CREATE FUNCTION report_recipient_job(p_kind TEXT, p_subject BIGINT, p_token BIGINT, p_report JSONB, p_final BOOLEAN) RETURNS BOOLEAN
LANGUAGE plpgsql AS $$
BEGIN
    IF p_final THEN
        DELETE FROM tbl_recipient_jobs WHERE kind = p_kind AND subject = p_subject AND token = p_token;
    ELSE
        UPDATE tbl_recipient_jobs SET beat_at = now() WHERE kind = p_kind AND subject = p_subject AND token = p_token;
    END IF;
    IF NOT FOUND THEN
        RETURN FALSE;
    END IF;
    IF p_report IS NULL THEN
        RETURN TRUE;
    END IF;
    IF p_kind = 'G' THEN
        UPDATE campaign_plans SET gathering = COALESCE(gathering, '{}') || p_report WHERE campaign_id = p_subject;
    ELSIF p_kind = 'M' THEN
        UPDATE campaign_plans SET measured = COALESCE(measured, '{}') || p_report WHERE campaign_id = p_subject;
    ELSIF p_kind = 'I' THEN
        UPDATE contact_lists SET importing = COALESCE(importing, '{}') || p_report WHERE list_id = p_subject;
    ELSIF p_final THEN
        UPDATE uploads SET state = CASE p_report ->> 'state' WHEN 'done' THEN 'ready' ELSE 'refused' END,
            code = left(COALESCE(p_report ->> 'error', ''), 40), detail = left(COALESCE(p_report ->> 'detail', ''), 300),
            preview = p_report -> 'preview' WHERE upload_id = p_subject;
        IF p_report ->> 'state' <> 'done' THEN
            DELETE FROM tbl_upload_pieces WHERE upload_id = p_subject;
        END IF;
    END IF;
    RETURN TRUE;
END $$;
