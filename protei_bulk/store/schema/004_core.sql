-- NULL is the column's default here, too.
CREATE OR REPLACE FUNCTION check_daily_quota(p_user_id BIGINT) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT COALESCE(u.max_msg_per_day, 500000) = 0 OR COALESCE(q.messages_sent, 0) < COALESCE(u.max_msg_per_day, 500000)
    FROM users u
    LEFT JOIN tbl_quota_usage q ON q.user_id = u.id AND q.period_type = 'DAILY' AND q.period_hour = 0
                               AND q.period_date = account_today(u.id)
    WHERE u.id = p_user_id
$$;
