INSERT INTO user_feed (post_id, user_id, user_name, avatar, content, created_at)
VALUES (:post, :user, :name, :avatar, :content, :created_at);
