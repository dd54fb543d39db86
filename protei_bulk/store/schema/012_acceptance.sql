-- Acceptance and progress: the newest bodies of accept_messages() and advance_messages() are here.
SELECT 1;
