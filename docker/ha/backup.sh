#!/bin/sh
# Beside PostgreSQL: while this node leads (LEADS, by default what Patroni says), makes the stanza once, a full backup on Sundays and an incremental one every other night.
leads() { ${LEADS:-curl -fsS -o /dev/null --max-time 2 http://127.0.0.1:8008/primary} 2>/dev/null; }
pgb() { pgbackrest --stanza=alpha "$@"; }
made=''
while :; do
  sleep 5
  leads || continue
  if [ -z "$made" ]; then
    pgb stanza-create && made=yes || continue
    pgb info --output=text | grep -q 'full backup' || pgb backup --type=full
  fi
  today=$(date -u +%F)
  if [ "$(date -u +%H%M)" -ge "${BACKUP_AT:-0230}" ] && [ "$(cat /tmp/backed-up 2>/dev/null)" != "$today" ]; then
    kind=incr
    [ "$(date -u +%u)" = 7 ] && kind=full
    pgb backup --type=$kind && printf %s "$today" >/tmp/backed-up
  fi
done
