"""PostgreSQL: pool, migrations, and the statements that keep the permanent record."""
