-- The service's own tables, normalized. It makes them itself, as it likes them.
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    avatar TEXT
);
CREATE TABLE posts (
    id TEXT PRIMARY KEY,
    content TEXT NOT NULL CHECK (length(content) <= 500),
    created_at TEXT NOT NULL
);
CREATE TABLE users_posts (
    user_id INTEGER NOT NULL REFERENCES users,
    post_id TEXT NOT NULL REFERENCES posts,
    PRIMARY KEY (user_id, post_id)
);
-- What others are to hear: written with what it tells of, read by Daybook.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL,
    meta TEXT
);
INSERT INTO users VALUES (1, 'Anna', 'anna.png'), (2, 'Bert', 'bert.png');
