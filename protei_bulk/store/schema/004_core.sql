-- Repairs of intake and outcomes.
SELECT 1;
