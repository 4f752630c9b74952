-- A listener that is frozen in the middle of a transaction would keep the row of its lease locked (`only_holder` reads it
-- FOR SHARE), so that no other could take it over. The server ends such a transaction; a thawed listener reads again.
ALTER ROLE alpha_listener SET idle_in_transaction_session_timeout = '5s';
