DELETE FROM mailing WHERE customer_id = :_subject;
