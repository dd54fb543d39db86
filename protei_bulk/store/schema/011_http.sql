-- Rate limits, idempotency.
SELECT 1;
