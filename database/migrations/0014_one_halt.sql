-- The same halt is in force once, also when two ways of the guard, or two guards, put it in force at the same time.

UPDATE trading.halts AS later SET lifted_at = now(), lifted_by = 'migration: in force once more'
WHERE lifted_at IS NULL AND EXISTS (
    SELECT FROM trading.halts AS first
    WHERE first.lifted_at IS NULL AND first.halt_id < later.halt_id
      AND (first.account_id, first.bot_id, first.symbol, first.kind, first.created_by, first.expires_at)
          IS NOT DISTINCT FROM
          (later.account_id, later.bot_id, later.symbol, later.kind, later.created_by, later.expires_at));

CREATE UNIQUE INDEX halts_once ON trading.halts (account_id, bot_id, symbol, kind, created_by, expires_at)
    NULLS NOT DISTINCT WHERE lifted_at IS NULL;
COMMENT ON INDEX trading.halts_once IS 'The same halt is in force once; what is halted now.';
-- The one above begins with the same column.
DROP INDEX trading.halts_in_force;
