"""Imports without what is installed by chance, and stand-ins for what is hardly ever used."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alpha.imports import deferred, without


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A library that uses an optional package, and one that imports a package it rarely uses."""
    (tmp_path / "some_extra.py").write_text("colour = 'red'\n")
    (tmp_path / "some_library.py").write_text(
        "try:\n    from some_extra import colour\nexcept ImportError:\n    colour = 'none'\n"
    )
    (tmp_path / "some_suite").mkdir()
    (tmp_path / "some_suite" / "__init__.py").write_text("")
    (tmp_path / "some_suite" / "rare.py").write_text("def use():\n    return 'used'\n")
    (tmp_path / "some_client.py").write_text("import some_extra\nfrom some_suite import rare\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("some_")]:
        del sys.modules[name]


@pytest.mark.usefixtures("libraries")
def test_a_library_takes_a_hidden_package_for_missing_and_nobody_else_does() -> None:
    with without("some_extra"):
        library = importlib.import_module("some_library")
    assert library.colour == "none"
    assert importlib.import_module("some_extra").colour == "red"


@pytest.mark.usefixtures("libraries")
def test_what_is_imported_already_stays_visible() -> None:
    extra = importlib.import_module("some_extra")
    with without("some_extra"):
        assert importlib.import_module("some_library").colour == "red"
    assert sys.modules["some_extra"] is extra


@pytest.mark.usefixtures("libraries")
def test_a_deferred_module_is_imported_with_its_first_use() -> None:
    with deferred("some_extra", "some_suite", "some_suite.rare"):
        client = importlib.import_module("some_client")
    assert not {"some_extra", "some_suite", "some_suite.rare"} & set(sys.modules)
    assert client.rare.use() == "used"
    assert client.some_extra.colour == "red"
    assert sys.modules["some_extra"].colour == "red"


@pytest.mark.usefixtures("libraries")
def test_a_name_taken_out_of_a_deferred_module_is_its_first_use() -> None:
    with deferred("some_extra"):
        assert importlib.import_module("some_library").colour == "red"
    with pytest.raises(AttributeError, match="missing"):
        assert importlib.import_module("some_extra").missing
