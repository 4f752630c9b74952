"""The `alpha` command."""
