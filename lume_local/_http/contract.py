"""The description of the contract, as the server gives it away: `openapi.yaml`, and the same as JSON."""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parents[1]


@cache
def contract_yaml() -> bytes:
    """The text that people read and edit."""
    return (_FOLDER / "openapi.yaml").read_bytes()


@cache
def contract_json() -> bytes:
    """The same document for tools, made from it by `tools/openapi_json.py`."""
    return (_FOLDER / "openapi.json").read_bytes()
