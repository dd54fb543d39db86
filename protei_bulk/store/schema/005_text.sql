-- What accounts say about text, and in how many PDUs it went out.
ALTER TABLE users
    ADD COLUMN smpp_alphabet  VARCHAR(20) NOT NULL DEFAULT 'gsm7'            -- what data_coding 0 means to its ESMEs
        CHECK (smpp_alphabet IN ('gsm7', 'gsm7-packed', 'latin1', 'ascii', 'utf8')),
    ADD COLUMN smart_encoding BOOLEAN     NOT NULL DEFAULT false,            -- of UCS-2 texts from its ESMEs
    ADD COLUMN max_parts      SMALLINT    NOT NULL DEFAULT 0                 -- of a message that the gateway splits; 0: the setting
        CHECK (max_parts BETWEEN 0 AND 255);

-- How many submit_sm a message went out in, where that is another number than its segments: a connector may want another
-- alphabet, or a long message in one PDU. 1 is a whole one, without rows of message_parts.
ALTER TABLE messages ADD COLUMN parts SMALLINT;

-- p_parts: [{i message, n parts}]. Called in the statement that records the first of them.
CREATE FUNCTION note_parts(p_parts JSON) RETURNS VOID LANGUAGE sql AS $$
    UPDATE messages m SET parts = x.n FROM json_to_recordset(p_parts) AS x (i TEXT, n SMALLINT) WHERE m.message_id = x.i
$$;
