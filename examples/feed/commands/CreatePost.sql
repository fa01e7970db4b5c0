-- service: posts
-- parameters: user integer, content text
-- expect: 1 row, else no-such-user: there is no such user
SELECT id FROM users WHERE id = :user;
INSERT INTO posts (id, content, created_at) VALUES (:_id, :content, :_time);
INSERT INTO users_posts (user_id, post_id) VALUES (:user, :_id);
INSERT INTO outbox (stream, type, data, meta)
SELECT 'post-' || :_id, 'PostCreated',
       json_object('post', :_id, 'user', id, 'name', name, 'avatar', avatar, 'content', :content,
                   'created_at', :_time),
       json_object('causationid', :_id)
FROM users WHERE id = :user;
SELECT :_id AS post;
