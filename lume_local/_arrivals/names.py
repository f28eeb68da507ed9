"""Names for files whose own is taken. Pure."""


def numbered(path: str, number: int) -> str:
    """`a-2.csv.gz` for `a.csv.gz`, and so on; 1 is the path itself."""
    if number == 1:
        return path
    folder, slash, name = path.rpartition("/")
    stem, dot, suffixes = name.partition(".")
    return f"{folder}{slash}{stem}-{number}{dot}{suffixes}"
