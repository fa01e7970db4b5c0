CREATE TABLE user_feed (
    post_id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL,
    user_name TEXT NOT NULL,
    avatar TEXT,
    content TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX user_feed_by_user ON user_feed (user_id, created_at);
