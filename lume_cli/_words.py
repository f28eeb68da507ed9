"""Options as the words of a command line, for the commands that are printed. Pure."""

from collections.abc import Mapping


def words(options: Mapping[str, object]) -> list[str]:
    """The words: a flag where the value is True, nothing where it is None or False; a mapping as KEY=VALUE pairs."""
    found: list[str] = []
    for name, value in options.items():
        if value is True:
            found.append(name)
        elif isinstance(value, Mapping):
            found += [word for key, text in value.items() for word in (name, f"{key}={text}")]
        elif value is not None and value is not False:
            found += [name, str(value)]
    return found
