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


class SecretBytes(bytes):
    """The same for a secret that signs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'[redacted]'"


class Veiled:
    """What was given for a secret and is no text, such as its bytes: all that is kept is what kind it was."""

    def __init__(self, value: object) -> None:
        self.kind = type(value).__name__

    def __repr__(self) -> str:
        return "'[redacted]'"


def veiled(value: T) -> T:
    """The value, as a text whose repr is redacted, so that no traceback shows it among a frame's locals.

    What gives a text when it is called or awaited stays as it is; so do None and False. Of anything else, which is
    to be refused, only the kind is left.
    """
    if isinstance(value, str):
        return Secret(value)  # type: ignore[return-value]
    plain = (
        value is None or isinstance(value, (bool, Veiled)) or callable(value) or hasattr(value, "__await__")
    )
    return value if plain else Veiled(value)  # type: ignore[return-value]
