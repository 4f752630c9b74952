"""The dashboard: what the command centre shows, in a browser. It reads and changes nothing."""
