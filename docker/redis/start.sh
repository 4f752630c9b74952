#!/bin/sh
# Starts Redis with one user a service. Rules come from users.acl.template, passwords from /run/secrets or the
# environment; the server sees only their SHA-256.
set -eu
umask 077

password() { # USER: its password, else the owner's
  upper=$(printf %s "$1" | tr 'a-z-' 'A-Z_')
  for file in "/run/secrets/redis_$1_password"; do
    if [ -s "$file" ]; then tr -d '\r\n' <"$file"; return; fi
  done
  eval "own=\${REDIS_${upper}_PASSWORD:-}"
  if [ -n "$own" ]; then printf %s "$own"; else owner; fi
}
owner() {
  if [ -s /run/secrets/redis_password ]; then tr -d '\r\n' </run/secrets/redis_password; else printf %s "${REDIS_PASSWORD:-}"; fi
}

if [ -z "$(owner)" ]; then
  echo "REDIS_PASSWORD is not set. Put it into .env, or run 'alpha init'." >&2
  exit 2
fi
acl=/tmp/users.acl
{
  printf 'user default on #%s ~* &* +@all\n' "$(owner | sha256sum | cut -d' ' -f1)"
  while IFS= read -r line; do
    case $line in
      user\ *)
        name=$(printf %s "$line" | cut -d' ' -f2)
        hash=$(password "$name" | sha256sum | cut -d' ' -f1)
        printf '%s\n' "$line" | sed "s/%PASSWORD:$name%/#$hash/"
        ;;
    esac
  done </etc/alpha/users.acl.template
} >"$acl"
# As many databases as the bots need, rendered with their users.
databases=$(sed -n 's/^# databases \([0-9]*\)$/\1/p' /etc/alpha/users.acl.template)
set -- --aclfile "$acl" --databases "${databases:-256}" --maxmemory-policy noeviction --appendonly yes --save '' \
  --dir /data --protected-mode no --logfile ''
# One of several (docker-compose.ha.yml): its name for the others, whose copy it is at first, and how many copies a write needs. In a
# file, so that the password is in no list of processes; Sentinel rewrites it.
if [ -n "${REDIS_ANNOUNCE:-}" ]; then
  conf=/tmp/replication.conf
  {
    printf 'replica-announce-ip %s\n' "$REDIS_ANNOUNCE"
    printf 'masteruser default\nmasterauth "%s"\n' "$(owner | sed 's/["\\]/\\&/g')"
    printf 'min-replicas-to-write %s\nmin-replicas-max-lag 5\n' "${REDIS_MIN_REPLICAS:-0}"
    if [ -n "${REDIS_REPLICA_OF:-}" ]; then printf 'replicaof %s 6379\n' "$REDIS_REPLICA_OF"; fi
  } >"$conf"
  set -- "$conf" "$@"
fi
exec redis-server "$@"
