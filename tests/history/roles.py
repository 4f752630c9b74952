"""The database roles and their passwords in tests."""

from alpha.postgres.migrate import ROLES

PASSWORDS = {role: f"password-of-{role}" for role in ROLES}
