-- Receipts of long messages.
SELECT 1;
