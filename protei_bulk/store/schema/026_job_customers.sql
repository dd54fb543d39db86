-- A recipients' job knows for whom it is: one customer's do not keep another's waiting.
-- Some databases have the column already: 017 made it for a few hours.
ALTER TABLE tbl_recipient_jobs ADD COLUMN IF NOT EXISTS customer_id BIGINT NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION begin_recipient_job(p_kind TEXT, p_subject BIGINT, p_node INTEGER, p_given JSONB) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    waiting JSONB := '{"state": "waiting", "done": 0, "of": 0, "accepted": 0, "refused": {}, "error": ""}';
    made    BIGINT;
    whose   BIGINT;
BEGIN
    PERFORM 1 FROM tbl_recipient_jobs WHERE kind = p_kind AND subject = p_subject FOR UPDATE;  -- all lock the job first
    IF p_kind = 'G' THEN
        UPDATE campaign_plans p SET gathering = waiting || jsonb_build_object('version', p.version)
        FROM campaigns c WHERE p.campaign_id = p_subject AND c.id = p_subject AND c.planned AND c.status = 'DRAFT'
        RETURNING c.customer_id INTO whose;
    ELSIF p_kind = 'M' THEN
        UPDATE campaign_plans p SET measured = waiting || jsonb_build_object('version', p.version)
        FROM campaigns c WHERE p.campaign_id = p_subject AND c.id = p_subject RETURNING c.customer_id INTO whose;
    ELSIF p_kind = 'I' THEN
        UPDATE contact_lists SET importing = waiting WHERE list_id = p_subject AND removed_at IS NULL
        RETURNING customer_id INTO whose;
    ELSE
        UPDATE uploads u SET state = 'checking', code = '', detail = '' WHERE u.upload_id = p_subject AND (u.state IN ('open', 'checking') OR u.state = 'ready' AND p_given <> '{}')
            AND u.size = (SELECT sum(length(t.body)) FROM tbl_upload_pieces t WHERE t.upload_id = p_subject)
        RETURNING u.customer_id INTO whose;
    END IF;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO tbl_recipient_jobs AS j (kind, subject, node_id, customer_id, given) VALUES (p_kind, p_subject, p_node, whose, p_given)
    ON CONFLICT (kind, subject) DO UPDATE
    SET token = EXCLUDED.token, node_id = EXCLUDED.node_id, given = EXCLUDED.given, attempts = 0, beat_at = now()
    RETURNING j.token INTO made;
    RETURN made;
END $$;
