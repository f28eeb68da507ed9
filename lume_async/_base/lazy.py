"""Public names that are loaded on first use (PEP 562), so that importing a package is fast."""

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


def lazily(
    package: str,
    names: "Mapping[str, str]",
    *,
    together: "Iterable[str]" = (),
    check: "Callable[[str], object]" = lambda name: None,
) -> "tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]":
    """Return `__all__`, `__getattr__` and `__dir__` for a package.

    Args:
        names: the modules, and the public names that are imported from each. Generated from the imports under
            `TYPE_CHECKING` in the package's `__init__`, the only list that is kept by hand.
        together: packages whose names are all loaded with the first name of this package, so that finalizers can
            use them: during interpreter shutdown nothing can be imported.
        check: called with a name before it is loaded; raises ImportError if it can't be used.
    """
    module = sys.modules[package]
    homes = {name: home for home, public in names.items() for name in public.split()}

    def load(name: str) -> "Any":
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=module)
        check(name)
        value = getattr(import_module(homes[name]), name)
        setattr(module, name, value)
        if homes[name].startswith(f"{package}."):
            for whole in map(sys.modules.__getitem__, together):
                for other in whole.__all__:
                    getattr(whole, other)
        return value

    def listed() -> list[str]:
        return sorted({*vars(module), *homes})

    return sorted(homes), load, listed
