"""The dashboard: the command centre's pages in a browser. Read-only."""
