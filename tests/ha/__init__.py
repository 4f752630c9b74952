"""What survives a host: listeners that share accounts, and (`make test-ha`) Patroni, etcd and Sentinel on loopback."""
