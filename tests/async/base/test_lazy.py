"""Names that are loaded on first use."""

import sys
from types import ModuleType
from typing import Any

import pytest

from lume_async._base.lazy import lazily


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package that shows `sqrt` of `math` and `deque` of `collections`."""
    module: Any = ModuleType("toolbox")
    monkeypatch.setitem(sys.modules, "toolbox", module)
    monkeypatch.setitem(sys.modules, "toolbox.inside", ModuleType("toolbox.inside"))
    module.__all__, module.__getattr__, module.__dir__ = lazily(
        "toolbox", {"math": "sqrt", "collections": "deque"}
    )
    return module


def test_a_name_is_loaded_once_and_then_the_packages_own(package: Any) -> None:
    assert "sqrt" not in vars(package)
    assert package.sqrt(9) == 3
    assert vars(package)["sqrt"] is sys.modules["math"].sqrt


def test_all_names_are_listed_before_they_are_loaded(package: Any) -> None:
    assert package.__all__ == ["deque", "sqrt"]
    assert {"deque", "sqrt", "__name__"} <= set(dir(package))


def test_names_may_be_loaded_together_with_the_first_of_the_packages_own(package: Any) -> None:
    names = {"math": "sqrt", "toolbox.inside": "Loaded", "collections": "deque"}
    sys.modules["toolbox.inside"].Loaded = object()  # type: ignore[attr-defined]
    package.__all__, package.__getattr__, _ = lazily("toolbox", names, together=["toolbox"])

    assert package.sqrt(9) == 3
    assert "deque" not in vars(package)
    assert package.Loaded
    assert set(names.values()) <= set(vars(package))


def test_an_unknown_name_says_which_package_lacks_it(package: Any) -> None:
    with pytest.raises(AttributeError, match="module 'toolbox' has no attribute 'sqtr'") as caught:
        _ = package.sqtr
    assert (caught.value.name, caught.value.obj) == ("sqtr", package)  # what "Did you mean" is made of
