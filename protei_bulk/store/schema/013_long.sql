-- The parts of long messages.
SELECT 1;
