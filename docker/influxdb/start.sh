#!/bin/sh
# Starts InfluxDB with the passwords from /run/secrets or the environment; the image reads them at its first start alone.
# Ticks are kept in it as long as their files, as TICKS_RETENTION_DAYS says at each start.
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

days=${TICKS_RETENTION_DAYS:-90}
if [ "$days" -gt 0 ]; then duration="${days}d"; else duration=INF; fi
keep() {
  INFLUX_USERNAME=$INFLUXDB_ADMIN_USER INFLUX_PASSWORD=$INFLUXDB_ADMIN_PASSWORD influx -host 127.0.0.1 -port 8086 -execute \
    "ALTER RETENTION POLICY \"autogen\" ON \"$INFLUXDB_DB\" DURATION $duration SHARD DURATION 1d DEFAULT" >/dev/null 2>&1
}
# beside it, until the database is there
(tries=120; until keep || [ $((tries -= 1)) -le 0 ]; do sleep 1; done) &
exec /entrypoint.sh influxd
