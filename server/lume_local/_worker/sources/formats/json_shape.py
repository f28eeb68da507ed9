"""The shape of JSON objects: lines with the first one's shape repeat no key, even in nested objects. Pure.

DuckDB compares a line's keys with the first line's in a fraction of the time that Python's parser takes.
"""

from typing import Any

from attrs import frozen

from lume_async._base.controls import control_in
from lume_local._worker.sql import text

_MOST = 40
"""Objects in a shape. Comparing more takes longer than parsing the line."""


@frozen
class Shape:
    """The keys of each object of a line.

    Attributes:
        single: keys by the JSON path of an object that each line has once.
        listed: keys by the JSON path of the objects of an array.
    """

    single: dict[str, list[str]]
    listed: dict[str, list[str]]

    @classmethod
    def of(cls, value: dict[str, Any]) -> "Shape | None":
        """Return the shape of an object; None if it is large, or the objects of an array differ."""
        found: dict[str, list[str]] = {}
        left: list[tuple[str, Any]] = [("$", value)]
        while left:
            path, one = left.pop()
            if isinstance(one, list):
                left += ((f"{path}[*]", item) for item in one if isinstance(item, dict | list))
            elif isinstance(one, dict):
                keys = list(one)
                if found.setdefault(path, keys) != keys or len(found) > _MOST or any(map(_is_odd, keys)):
                    return None
                left += ((f'{path}."{key}"', item) for key, item in one.items())
        listed = {path: keys for path, keys in found.items() if "[*]" in path}
        return cls({path: keys for path, keys in found.items() if path not in listed}, listed)

    def matched_by(self, line: str) -> str:
        """Return SQL for whether a line has this shape and no other object; NULL if that can't be determined."""
        paths, keys = _texts(list(self.single)), ", ".join(map(_texts, self.single.values()))
        conditions, objects = [f"TRY(json_keys({line}, {paths})) = [{keys}]"], [str(len(self.single))]
        for path, each in self.listed.items():
            found = f"TRY(json_keys({line}, {text(path)}))"
            conditions.append(f"list_distinct({found}) = [{_texts(each)}]")
            objects.append(f"len({found})")
        return f"({' AND '.join(conditions)} AND {braces_in(line)} = {' + '.join(objects)})"


def braces_in(line: str) -> str:
    """Return SQL for the maximum number of objects in a line, as braces in strings count, too."""
    return f"(length({line}) - length(replace({line}, '{{', '')))"


def _is_odd(key: str) -> bool:
    """Return whether a key can't be written unchanged into a JSON path, or has a special meaning there."""
    return not key or any(one in key for one in '"\\*') or bool(control_in(key))


def _texts(values: list[str]) -> str:
    return f"[{', '.join(map(text, values))}]"
