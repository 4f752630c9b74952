#!/bin/sh
# `patroni`: writes the configuration from the environment and /run/secrets, then becomes Patroni. `etcd`: becomes etcd.
# `restore MOMENT`: brings the state of that moment into /restore and serves it from there, beside the running cluster.
set -eu
umask 077
if [ "${1:-patroni}" = etcd ]; then
  exec etcd --name "$NODE" --data-dir /var/lib/etcd --initial-cluster "$ETCD_CLUSTER" --initial-cluster-token alpha \
    --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls "http://$NODE:2379" \
    --listen-peer-urls http://0.0.0.0:2380 --initial-advertise-peer-urls "http://$NODE:2380" --auto-compaction-retention 1h
fi

. /opt/ha/archive.sh
quoted() { sed "s/'/''/g"; }
password=$(secret POSTGRES_PASSWORD)
if [ -z "$password" ]; then
  echo "POSTGRES_PASSWORD is not set. Put it into .env, or run 'alpha init'." >&2
  exit 2
fi
password=$(printf %s "$password" | quoted)
data=/var/lib/postgresql/data/alpha
bin=$(dirname "$(readlink -f "$(command -v postgres)")")
cipher=$(secret PGBACKREST_CIPHER_PASS)
archive='archive_mode: "off"'
restore=''
if [ -n "$cipher" ]; then
  pgbackrest_conf "$data" /tmp "$cipher" >/tmp/pgbackrest.conf
  archive="archive_mode: \"on\"
        archive_timeout: \"${ARCHIVE_TIMEOUT_S:-30}\"
        archive_command: pgbackrest --config=/tmp/pgbackrest.conf --stanza=alpha archive-push %p"
  restore='  recovery_conf:
    restore_command: pgbackrest --config=/tmp/pgbackrest.conf --stanza=alpha archive-get %f "%p"'
  PGBACKREST_CONFIG=/tmp/pgbackrest.conf
  export PGBACKREST_CONFIG
fi
if [ "${1:-patroni}" = restore ]; then
  if [ -z "$cipher" ]; then
    echo "PGBACKREST_CIPHER_PASS is not set, so there is no repository to restore from." >&2
    exit 2
  fi
  if [ -n "$(ls -A /restore 2>/dev/null)" ]; then
    echo "/restore is not empty. Mount an empty volume there." >&2
    exit 2
  fi
  chmod 700 /restore
  printf 'local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n' >/tmp/hba.conf
  pgbackrest --stanza=alpha --pg1-path=/restore --type=time --target="$2" --target-action=promote \
    --archive-mode=off restore
  # what was restored is a copy: it must neither archive nor wait for a standby
  exec postgres -D /restore -c archive_mode=off -c synchronous_standby_names= -c unix_socket_directories=/tmp -c hba_file=/tmp/hba.conf \
    -c ident_file=/dev/null -c listen_addresses=127.0.0.1 -c hot_standby=on -c max_connections=100 -c cluster_name=restored
fi
if [ -n "$cipher" ]; then /bin/sh /opt/ha/backup.sh & fi
cat >/tmp/patroni.yml <<CONF
scope: alpha
name: $NODE
restapi:
  listen: 0.0.0.0:8008
  connect_address: $NODE:8008
etcd3:
  hosts: $ETCD_HOSTS
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 3
    retry_timeout: 5
    synchronous_mode: true
    primary_start_timeout: 0
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        max_connections: 100
        wal_log_hints: "on"
        timezone: UTC
        log_timezone: UTC
        password_encryption: scram-sha-256
        log_min_duration_statement: 1000
        $archive
  initdb:
    - encoding: UTF8
    - locale: C.UTF-8
    - data-checksums
postgresql:
  listen: "*:5432"
  connect_address: $NODE:5432
  data_dir: $data
  bin_dir: $bin
  pgpass: /tmp/pgpass
  authentication:
    superuser: { username: trading_user, password: '$password' }
    replication: { username: replicator, password: '$password' }
    rewind: { username: trading_user, password: '$password' }
  parameters:
    unix_socket_directories: /tmp
    shared_buffers: 128MB
  pg_hba:
    - local all all trust
    - host replication replicator all scram-sha-256
    - host all all all scram-sha-256
$restore
CONF
mkdir -p "$data"
chmod 700 "$data"
exec patroni /tmp/patroni.yml
