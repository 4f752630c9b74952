# Shared by start.sh and plain.sh: secrets, and the configuration of pgBackRest.

secret() { # NAME: the file of that name in /run/secrets, or the variable
  file=/run/secrets/$(printf %s "$1" | tr 'A-Z' 'a-z')
  if [ -s "$file" ]; then tr -d '\r\n' <"$file"; return; fi
  eval "printf %s \"\${$1:-}\""
}

pgbackrest_conf() { # DATA SOCKET_FOLDER PASSWORD: the configuration's text
  cat <<CONF
[global]
repo1-path=${PGBACKREST_REPO_PATH:-/var/lib/pgbackrest}
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=$3
repo1-retention-full=${PGBACKREST_KEEP_FULL:-2}
start-fast=y
compress-type=zst
log-level-console=warn
log-level-file=off
lock-path=/tmp/pgbackrest
spool-path=/tmp/pgbackrest-spool
${PGBACKREST_MORE:-}

[alpha]
pg1-path=$1
pg1-port=5432
pg1-socket-path=$2
pg1-user=trading_user
pg1-database=postgres
CONF
}
