-- What the portal's wizard needs beside the campaigns themselves: texts to use again, and how many tests an account has sent.

CREATE TABLE message_templates (
    template_id  BIGSERIAL PRIMARY KEY,
    customer_id  BIGINT NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    name         VARCHAR(100) NOT NULL,
    text         TEXT NOT NULL,
    encoding     VARCHAR(10) NOT NULL DEFAULT 'AUTO',
    smart        BOOLEAN NOT NULL DEFAULT TRUE,
    updated_by   BIGINT,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    deleted_at   TIMESTAMPTZ                              -- kept for a while, so that it can be brought back
);
CREATE UNIQUE INDEX message_templates_name ON message_templates (customer_id, lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX message_templates_of ON message_templates (customer_id, template_id DESC);

-- Test messages of the wizard: one row each, of the last day.
CREATE TABLE campaign_tests (
    user_id  BIGINT NOT NULL,
    sent_at  TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX campaign_tests_of ON campaign_tests (user_id, sent_at);

-- Whether an account may send one more test now; if so it is counted.
CREATE FUNCTION take_campaign_test(p_user BIGINT, p_an_hour INTEGER, p_a_day INTEGER) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM users WHERE id = p_user FOR NO KEY UPDATE;  -- one at a time
    DELETE FROM campaign_tests WHERE user_id = p_user AND sent_at < now() - interval '1 day';
    IF (SELECT count(*) >= p_a_day OR count(*) FILTER (WHERE sent_at > now() - interval '1 hour') >= p_an_hour
        FROM campaign_tests WHERE user_id = p_user) THEN
        RETURN FALSE;
    END IF;
    INSERT INTO campaign_tests (user_id) VALUES (p_user);
    RETURN TRUE;
END $$;
