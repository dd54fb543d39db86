-- Guards: see below.
SELECT 1;
