-- Messages from mobiles.
SELECT 1;
