#!/bin/sh
# Writes the address of PostgreSQL and the list of users from /run/secrets or the environment, then starts PgBouncer.
set -eu
umask 077

secret() { # NAME: the file of that name in /run/secrets, or the variable
  file=/run/secrets/$(printf %s "$1" | tr 'A-Z' 'a-z')
  if [ -s "$file" ]; then tr -d '\r\n' <"$file"; return; fi
  eval "named=\${$1_FILE:-}"
  if [ -n "$named" ]; then tr -d '\r\n' <"$named"; return; fi
  eval "printf %s \"\${$1:-}\""
}
quoted() { sed 's/"/""/g'; }
escaped() { sed 's/[\\:]/\\&/g'; }

owner=$(secret POSTGRES_PASSWORD)
if [ -z "$owner" ]; then
  echo "POSTGRES_PASSWORD is not set. Put it into .env, or run 'alpha init'." >&2
  exit 2
fi
printf '"%s" "%s"\n' "$POSTGRES_USER" "$(printf %s "$owner" | quoted)" >/tmp/userlist.txt
for role in ALPHA_READONLY ALPHA_LISTENER ALPHA_SYNC ALPHA_GUARD ALPHA_C2 ALPHA_STRATEGY ALPHA_TICKS ALPHA_ANALYSIS ALPHA_API ALPHA_DASHBOARD; do
  password=$(secret "${role}_DB_PASSWORD")
  password=${password:-$owner}
  name=$(printf %s "$role" | tr 'A-Z' 'a-z')
  printf '"%s" "%s"\n' "$name" "$(printf %s "$password" | quoted)" >>/tmp/userlist.txt
  if [ "$role" = ALPHA_READONLY ]; then
    printf '127.0.0.1:6432:*:%s:%s\n' "$name" "$(printf %s "$password" | escaped)" >/tmp/pgpass
  fi
done
{
  printf '[databases]\n%s = host=%s port=%s dbname=%s\n' "$POSTGRES_DB" "$POSTGRES_HOST" "$POSTGRES_PORT" "$POSTGRES_DB"
  # Those who only read may use a standby (docker-compose.ha.yml).
  if [ -n "${POSTGRES_READ_PORT:-}" ]; then
    printf '%s_ro = host=%s port=%s dbname=%s\n' "$POSTGRES_DB" "$POSTGRES_HOST" "$POSTGRES_READ_PORT" "$POSTGRES_DB"
  fi
  echo
  cat /opt/pgbouncer/pgbouncer.ini
} >/tmp/pgbouncer.ini
exec pgbouncer /tmp/pgbouncer.ini
