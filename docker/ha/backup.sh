#!/bin/sh
# Beside Patroni: while this node leads, makes the stanza once, a full backup on Sundays and an incremental one every other night.
# Its newest recoverable moment is in /tmp/recoverable (seconds since 1970), for the health check and for people.
leads() { curl -fsS -o /dev/null --max-time 2 http://127.0.0.1:8008/primary 2>/dev/null; }
pgb() { pgbackrest --stanza=alpha "$@"; }
sql() { psql -h /tmp -U trading_user -d postgres -Atqc "$1" 2>/dev/null; }
made=''
while :; do
  sleep 5
  leads || continue
  if [ -z "$made" ]; then
    pgb stanza-create && made=yes || continue
    pgb info --output=text | grep -q 'full backup' || pgb backup --type=full
  fi
  # what was archived last can be recovered to: a segment ends at least every ARCHIVE_TIMEOUT_S while anything is written
  sql "SELECT coalesce(extract(epoch FROM last_archived_time)::bigint, 0) FROM pg_stat_archiver" >/tmp/recoverable.new \
    && mv /tmp/recoverable.new /tmp/recoverable
  today=$(date -u +%F)
  if [ "$(date -u +%H%M)" -ge "${BACKUP_AT:-0230}" ] && [ "$(cat /tmp/backed-up 2>/dev/null)" != "$today" ]; then
    kind=incr
    [ "$(date -u +%u)" = 7 ] && kind=full
    pgb backup --type=$kind && printf %s "$today" >/tmp/backed-up
  fi
done
