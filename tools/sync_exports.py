"""The generator's output for public names: the module that each is loaded from."""

import ast
from textwrap import wrap

from sync_source import MARK, Refused

LENGTH = 110
"""Maximum length of a line."""


def exported(place: str, text: str) -> dict[str, str]:
    """Return a package's public names with their modules, from the imports of `__init__` for type checkers."""
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            continue
        for item in node.body:
            if not isinstance(item, ast.ImportFrom) or item.level or not item.module:
                raise Refused(f"{place}:{item.lineno}: only `from module import name as name` is public")
            for alias in item.names:
                if alias.asname != alias.name:
                    raise Refused(
                        f"{place}:{alias.lineno}: {alias.name} has to be imported as itself to be public"
                    )
                found[alias.name] = item.module
    if not found:
        raise Refused(f"{place}: nothing is imported for type checkers")
    return dict(sorted(found.items()))


def exports_module(place: str, homes: dict[str, str]) -> str:
    """Return `_exports.py` of a package."""
    modules: dict[str, list[str]] = {}
    for name, module in homes.items():
        modules.setdefault(module, []).append(name)
    lines = ""
    for module, names in sorted(modules.items()):
        text = " ".join(names)
        if len(f'    "{module}": "{text}",') > LENGTH:
            wrapped = "".join(f'        "{line} "\n' for line in wrap(text, LENGTH - 11))
            lines += f'    "{module}": (\n{wrapped}    ),\n'
        else:
            lines += f'    "{module}": "{text}",\n'
    return EXPORTS.format(mark=MARK, place=place, lines=lines)


EXPORTS = '''{mark}{place}. Do not edit; run: tools/generate_sync.py

"""The modules that the public names of the package are loaded from."""

NAMES = {{
{lines}}}
'''
