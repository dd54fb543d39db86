-- Tokens, permissions, administration.
SELECT 1;
