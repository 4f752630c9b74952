"""The documents' reference of tables and roles says what the migrations made."""

from alpha.postgres.database import Connection
from tests.docs.schema_reference import PAGE, page
from tests.history.conftest import plain_form


@plain_form
async def test_the_reference_of_tables_and_roles_is_current(owner: Connection) -> None:
    assert PAGE.read_text(encoding="utf-8") == await page(owner), "run: python -m tests.docs.schema_reference"
