"""Which characters no name has."""

import pytest

from lume_async._base.controls import control_in


@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\udcff"])
def test_what_no_name_has(character: str) -> None:
    assert control_in(f"a{character}b\0") == character


@pytest.mark.parametrize("character", "\u00a0\u00ad\u202f\u3000\u200b\u200d\ufeff\u202e\ue000\U000e0020")
def test_what_a_name_may_have(character: str) -> None:
    assert not character.isprintable()
    assert control_in(f"a{character}b") == ""
