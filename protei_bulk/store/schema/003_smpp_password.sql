-- A bind has room for eight octets of password (SMPP 3.4 section 4.1.1), and clients cut longer ones off silently.
-- Here is the hash of the first eight octets of a longer password; NULL where the password is short enough, or was set before.
ALTER TABLE users ADD COLUMN smpp_password_hash VARCHAR(255);
