-- Planned campaigns of which everything is stored or refused, for all blocks are done, and everything stored is final, for all of it is counted. One that
-- was paused and has nothing left to go on with is complete, too.
-- Some receipts never come: three days after a campaign began it is complete once everything is with the SMSCs, and what comes later still counts.
CREATE OR REPLACE FUNCTION complete_campaigns() RETURNS INTEGER LANGUAGE plpgsql AS $$
DECLARE
    done INTEGER;
BEGIN
    UPDATE campaigns SET status = 'COMPLETED', completed_at = now(), status_at = now(), status_reason = '' WHERE id IN (
        SELECT c.id FROM (SELECT * FROM campaigns WHERE planned AND status = 'RUNNING' UNION ALL SELECT * FROM campaigns WHERE planned AND status = 'PAUSED') c
        WHERE (c.delivered_count + c.failed_count >= c.accepted_total
               OR (c.started_at < now() - interval '3 days' AND c.sent_total + c.failed_unsent >= c.accepted_total))
          AND NOT EXISTS (SELECT 1 FROM campaign_blocks b WHERE b.campaign_id = c.id AND b.state <> 'D')
          AND NOT EXISTS (SELECT 1 FROM tbl_counter_delta d WHERE d.campaign_id = c.id))
      AND status IN ('RUNNING', 'PAUSED');
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END $$;
