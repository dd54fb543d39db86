-- What accounts say about text.
SELECT 1;
