"""Words of messages. Pure."""


def counted(number: int, one: str, several: str | None = None) -> str:
    """`1 run`, `2,000 runs`; `several` where an s is not enough: `counted(2, "row is", "rows are")`."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
