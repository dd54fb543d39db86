-- Binds, traces.
SELECT 1;
