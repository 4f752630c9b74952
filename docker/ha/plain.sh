#!/bin/sh
# A single PostgreSQL with point-in-time recovery (docker-compose.pitr.yml): writes the configuration of pgBackRest, then becomes the
# image's own start with archiving on. `restore MOMENT`: brings the stopped server's data back to that moment.
set -eu
. /opt/ha/archive.sh
cipher=$(secret PGBACKREST_CIPHER_PASS)
if [ -z "$cipher" ]; then
  echo "PGBACKREST_CIPHER_PASS is not set. Put a long random word into .env, and keep it elsewhere too." >&2
  exit 2
fi
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
data=${PGDATA:-/var/lib/postgresql/data}
PGBACKREST_CONFIG=/tmp/pgbackrest.conf
export PGBACKREST_CONFIG
(umask 077 && pgbackrest_conf "$data" /var/run/postgresql "$cipher" >$PGBACKREST_CONFIG)
chown postgres:postgres $PGBACKREST_CONFIG
unset PGBACKREST_CIPHER_PASS
case ${1:-postgres} in
  restore)
    if [ -z "${2:-}" ]; then
      echo "Say to which moment: restore '2026-11-30 15:22:10+00'." >&2
      exit 2
    fi
    # Only what differs is copied; refused while the server runs.
    mkdir -p "$data" && chown postgres:postgres "$data" && chmod 700 "$data"
    exec setpriv --reuid=postgres --regid=postgres --init-groups \
      pgbackrest --stanza=alpha --delta --type=time --target="$2" --target-action=promote restore
    ;;
  info) exec setpriv --reuid=postgres --regid=postgres --init-groups pgbackrest --stanza=alpha info ;;
esac
SOCKET=/var/run/postgresql
LEADS="test -S $SOCKET/.s.PGSQL.5432"
export SOCKET LEADS
as_postgres /bin/sh /opt/ha/backup.sh &
exec docker-entrypoint.sh "$@" -c archive_mode=on -c "archive_timeout=${ARCHIVE_TIMEOUT_S:-30}" \
  -c "archive_command=pgbackrest --config=$PGBACKREST_CONFIG --stanza=alpha archive-push %p"
