-- database: reading
SELECT post_id, user_name, avatar, content, created_at
FROM user_feed
WHERE user_id = :user
ORDER BY created_at DESC, post_id
LIMIT 100
