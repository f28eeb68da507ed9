"""A string that may travel in a header and nowhere else."""

from typing import NoReturn, TypeVar

T = TypeVar("T")


class Secret(str):
    """An API key: its text goes on the wire, its repr (of a header map, a traceback local) is redacted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[redacted]'"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is never pickled: give it again where the pickle is loaded")


def veiled(value: T) -> T:
    """The value; a text is one whose repr is redacted, so that no traceback shows it among a frame's locals."""
    return Secret(value) if isinstance(value, str) else value  # type: ignore[return-value]
