"""The roles of the database and the passwords that the tests give them."""

from alpha.postgres.migrate import ROLES

PASSWORDS = {role: f"password-of-{role}" for role in ROLES}
