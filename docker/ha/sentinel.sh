#!/bin/sh
# Starts a Sentinel that watches the Redis called "alpha"; it finds replicas and other Sentinels by itself.
set -eu
umask 077
if [ -s /run/secrets/redis_password ]; then password=$(tr -d '\r\n' </run/secrets/redis_password); else password=${REDIS_PASSWORD:-}; fi
cat >/tmp/sentinel.conf <<CONF
port 26379
dir /tmp
protected-mode no
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $SENTINEL_ANNOUNCE
sentinel monitor alpha redis 6379 2
sentinel auth-pass alpha $password
sentinel down-after-milliseconds alpha 3000
sentinel failover-timeout alpha 10000
sentinel parallel-syncs alpha 2
CONF
exec redis-server /tmp/sentinel.conf --sentinel
