-- name: take_acknowledgement
-- Take what `alpha alert ack` has left; gives a row if it has.
DELETE FROM audit.command_centre WHERE name = $1 RETURNING name;
