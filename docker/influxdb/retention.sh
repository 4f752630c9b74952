# Sourced by the image at its first start, when database and users are made: ticks are kept as long as their files.
if [ "${TICKS_RETENTION_DAYS:-90}" -gt 0 ]; then
  INFLUX_USERNAME=$INFLUXDB_ADMIN_USER INFLUX_PASSWORD=$INFLUXDB_ADMIN_PASSWORD \
    influx -host 127.0.0.1 -port "${INIT_PORT:-8086}" -execute "ALTER RETENTION POLICY \"autogen\" ON \"$INFLUXDB_DB\" DURATION ${TICKS_RETENTION_DAYS:-90}d SHARD DURATION 1d DEFAULT"
fi
