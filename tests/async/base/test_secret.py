import copy
import pickle

import pytest

from lume_async._base.secret import Secret, veiled


def test_its_text_is_shown_by_no_repr() -> None:
    secret = Secret("canary")

    assert "canary" not in repr(secret)
    assert "canary" not in repr({"lume-api-key": secret})
    assert "canary" not in f"{secret!r}"


def test_it_travels_in_a_header() -> None:
    assert Secret("canary").encode() == b"canary"


@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_travels_nowhere_else(carry: object) -> None:
    with pytest.raises(TypeError, match="never pickled"):
        carry(Secret("canary"))  # type: ignore[operator]


def test_only_a_text_is_veiled() -> None:
    assert repr(veiled("canary")) == "'[redacted]'"
    assert veiled(None) is None
    assert veiled(len) is len
