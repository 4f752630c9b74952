#!/bin/sh
# Starts InfluxDB with the passwords from /run/secrets or the environment; the image reads them at its first start alone.
set -eu

password() { # NAME: the file of that name in /run/secrets, or the variable
  file=/run/secrets/$(printf %s "$1" | tr 'A-Z' 'a-z')
  if [ -s "$file" ]; then tr -d '\r\n' <"$file"; else eval "printf %s \"\${$1:-}\""; fi
}

INFLUXDB_USER_PASSWORD=$(password INFLUX_TOKEN)
INFLUXDB_ADMIN_PASSWORD=$(password INFLUX_ADMIN_PASSWORD)
if [ -z "$INFLUXDB_USER_PASSWORD" ] || [ -z "$INFLUXDB_ADMIN_PASSWORD" ]; then
  echo "INFLUX_TOKEN and INFLUX_ADMIN_PASSWORD are not set. Put them into .env, or run 'alpha init'." >&2
  exit 2
fi
export INFLUXDB_USER_PASSWORD INFLUXDB_ADMIN_PASSWORD
exec /entrypoint.sh influxd
