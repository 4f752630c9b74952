"""Keeps libraries from importing what a service never uses.

structlog and httpx import rich and its highlighter where it happens to be installed, pybit imports a WebSocket client and
RSA that this system has no use for. Together that was a third of the CPU that the start of a service took.
"""

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Import as if these packages were not installed; what is imported already stays visible."""
    hidden = [name for name in packages if name not in sys.modules]
    # None makes the import system raise ModuleNotFoundError.
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            if modules.get(name, name) is None:
                del modules[name]


class _Deferred(types.ModuleType):
    """Stands for a module that is imported when something of it is first used."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            # The import system asks for __path__ and the like.
            raise AttributeError(name)
        for other, module in list(sys.modules.items()):
            if isinstance(module, _Deferred):
                del sys.modules[other]
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def deferred(*modules: str) -> Iterator[None]:
    """What is imported meanwhile gets stand-ins for these modules, which import the true ones on their first use.

    For `import x` and `from package import module` only: a name taken out of a module would be its first use. Packages are
    named with their modules.
    """
    stand_ins = {name: _Deferred(name) for name in modules if name not in sys.modules}
    for name, module in stand_ins.items():
        package, _, own = name.rpartition(".")
        if package in stand_ins:
            setattr(stand_ins[package], own, module)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
