-- SPDX-License-Identifier: Apache-2.0
-- A stream store in SQL that works as message-db is documented to: one function that writes a
-- message at an expected version, under a lock of its category, so that global positions become
-- visible in their order.
CREATE TABLE messages (
    global_position bigserial PRIMARY KEY,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    stream text NOT NULL,
    position bigint NOT NULL,
    type text NOT NULL,
    data jsonb,
    metadata jsonb,
    time timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);
CREATE UNIQUE INDEX messages_id ON messages (id);
CREATE UNIQUE INDEX messages_stream ON messages (stream, position);
CREATE INDEX messages_category ON messages (split_part(stream, '-', 1), global_position);

CREATE FUNCTION write_message(to_stream text, message_type text, message jsonb, expected bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    current_version bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(split_part(to_stream, '-', 1), 0));
    SELECT max(position) INTO current_version FROM messages WHERE stream = to_stream;
    current_version := coalesce(current_version, -1);
    IF expected IS NOT NULL AND expected <> current_version THEN
        RAISE EXCEPTION 'stream % is at version %, not %', to_stream, current_version, expected;
    END IF;
    INSERT INTO messages (stream, position, type, data)
    VALUES (to_stream, current_version + 1, message_type, message);
    RETURN current_version + 1;
END $$;

CREATE TABLE events (
    position bigserial PRIMARY KEY,
    stream text NOT NULL,
    type text NOT NULL,
    data jsonb NOT NULL
);
