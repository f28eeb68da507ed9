"""Strings and bytes that no repr shows."""

from collections.abc import Mapping
from typing import NoReturn, TypeVar

T = TypeVar("T")


class Secret(str):
    """An API key: it is sent in a header; its repr (in a header map, in a traceback) is redacted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[redacted]'"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key can't be pickled: configure it in the process that loads the pickle")


class SecretBytes(bytes):
    """A secret for signatures, with a redacted repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'[redacted]'"


class Veiled:
    """A stand-in for an invalid secret, such as bytes; keeps only the name of its type."""

    def __init__(self, value: object) -> None:
        self.kind = type(value).__name__

    def __repr__(self) -> str:
        return "'[redacted]'"


def veiled_headers(headers: T) -> T:
    """Return a mapping as a dict whose values no repr shows; anything else is returned as it is, to be refused."""
    if not isinstance(headers, Mapping):
        return headers
    return {name: veiled(value) for name, value in headers.items()}  # type: ignore[return-value]


def veiled(value: T) -> T:
    """Return the value, as a string whose repr is redacted, so that no traceback with locals shows it.

    Callables, awaitables, None and booleans are returned as they are. Any other value becomes `Veiled`.
    """
    if isinstance(value, str):
        return Secret(value)  # type: ignore[return-value]
    plain = (
        value is None or isinstance(value, (bool, Veiled)) or callable(value) or hasattr(value, "__await__")
    )
    return value if plain else Veiled(value)  # type: ignore[return-value]
