"""Alternative names for files whose name is taken. Pure."""

from collections.abc import Iterator

LONGEST = 255
"""The maximum length of a name in bytes, in common file systems."""


def numbered(path: str, number: int) -> str:
    """Return `a-2.csv.gz` for `a.csv.gz`, and so on, with a shorter stem if necessary; 1 returns the path itself."""
    if number == 1:
        return path
    folder, slash, name = path.rpartition("/")
    parted = ((stem, f"-{number}{suffixes}") for stem, suffixes in _parted(name))
    stem, rest = next((stem, rest) for stem, rest in parted if len(rest.encode()) < LONGEST)
    stem = stem.encode()[: LONGEST - len(rest.encode())].decode(errors="ignore")
    return f"{folder}{slash}{stem}{rest}"


def _parted(name: str) -> Iterator[tuple[str, str]]:
    """Yield the stem and what follows it: all suffixes, only the last, none, until a stem has room."""
    stem, dot, suffixes = name.partition(".")
    yield stem, f"{dot}{suffixes}"
    stem, dot, suffix = name.rpartition(".")
    yield stem, f"{dot}{suffix}"
    yield name, ""
