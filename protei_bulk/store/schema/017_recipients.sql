-- Recipients: uploads and contact lists.
SELECT 1;
