-- query, cancel, replace and short message ids.
SELECT 1;
