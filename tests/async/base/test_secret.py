import copy
import pickle

import pytest

from lume_async._base.secret import Secret, Veiled, veiled


def test_its_text_is_shown_by_no_repr() -> None:
    secret = Secret("canary")

    assert "canary" not in repr(secret)
    assert "canary" not in repr({"lume-api-key": secret})
    assert "canary" not in f"{secret!r}"


def test_it_travels_in_a_header() -> None:
    assert Secret("canary").encode() == b"canary"


@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_travels_nowhere_else(carry: object) -> None:
    with pytest.raises(TypeError, match="can't be pickled"):
        carry(Secret("canary"))  # type: ignore[operator]


@pytest.mark.parametrize("given", [b"canary", ["canary"], {"key": "canary"}, ("canary",)])
def test_of_what_is_no_text_only_the_kind_is_left(given: object) -> None:
    left = veiled(given)
    assert isinstance(left, Veiled)
    assert (repr(left), vars(left)) == ("'[redacted]'", {"kind": type(given).__name__})
    assert veiled(left) is left


def test_what_is_text_or_gives_one_is_kept() -> None:
    assert repr(veiled("canary")) == "'[redacted]'"
    assert veiled(False) is False
    assert veiled(None) is None
    assert veiled(len) is len
