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
exec redis-server --aclfile "$acl" --databases "${databases:-256}" --maxmemory-policy noeviction --appendonly yes --save '' \
  --dir /data --protected-mode no --logfile ''
