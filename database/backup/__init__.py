"""Backups of PostgreSQL: taken daily, checked, rehearsed weekly, restored with one command."""
