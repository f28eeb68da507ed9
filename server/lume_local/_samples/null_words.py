"""Words that a sample uses for a missing value, such as NA. Pure."""

# ruff: noqa: RUF001, SIM905 - dashes as people type them; a list of these would take a screen.
from collections.abc import Mapping, Sequence

from attrs import frozen

from lume_local._samples.infer import is_typed

_WORDS = frozenset(
    "NA N/A n/a na #N/A #NA N.A. n.a. - -- – — . .. ? NULL null Null (null) <NA>".split()
    + "None none nil NaN nan NAN -nan \\N".split()
    + ["#N/A N/A"]
)
_USUAL_IN_TEXTS = frozenset({"?", "-", "--", "–", "—", ".", "none", "None"})
"""Words that are more likely answers in a column of texts."""


@frozen
class NullWords:
    """The words found.

    Attributes:
        proposed: words among numbers, dates or truth values.
        texts: for each of these, the text columns that also contain it.
        doubtful: words that occur only in text columns, and the first such column.
    """

    proposed: tuple[str, ...] = ()
    texts: Mapping[str, list[str]] = {}
    doubtful: Mapping[str, str] = {}


def null_words(names: Sequence[str], columns: Sequence[Sequence[str]]) -> NullWords:
    """Return the words that a flow should read as NULL."""
    typed: dict[str, None] = {}
    texts: dict[str, list[str]] = {}
    for name, values in zip(names, columns, strict=True):
        filled = [value.strip() for value in values if value.strip()]
        if not (words := {value: None for value in filled if value in _WORDS}):
            continue
        others = [value for value in filled if value not in _WORDS]
        if others and is_typed(others):
            typed |= words
        else:
            for word in words:
                texts.setdefault(word, []).append(name)
    doubtful = {
        word: found[0] for word, found in texts.items() if word not in typed and word not in _USUAL_IN_TEXTS
    }
    return NullWords(tuple(typed), {word: texts[word] for word in typed if word in texts}, doubtful)
