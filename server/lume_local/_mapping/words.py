"""The words in names of columns: how a name splits into words, and which words are synonyms. Pure.

The synonyms are in `words.toml`.
"""

import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable
from functools import cache
from importlib.resources import files
from itertools import combinations

from attrs import frozen

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MAIL = re.compile(r"(?i:\be[-_ ]mail)|\beMail")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_LINKS = ("", "s", "n", "en", "es")
"""Letters that German puts between the words of a compound."""
_SHORT_PARTS = frozenset({"id", "no", "nr", "is"})
_LONGEST = 40
"""Maximum letters of a word to split."""


@frozen
class Word:
    """A word of a name: its spelling without the plural, and its meanings."""

    text: str
    concepts: frozenset[str]


@frozen
class Vocabulary:
    """The content of `words.toml`."""

    concepts: dict[str, frozenset[str]]
    short: dict[str, list[str]]
    fillers: frozenset[str]
    weak: frozenset[str]
    near: frozenset[frozenset[str]]

    def word(self, text: str) -> Word:
        """Return a word without its plural, with its concepts."""
        for form in _forms(text):
            if form in self.concepts:
                return Word(form, self.concepts[form])
        return Word(_singular(text), frozenset())

    def knows(self, text: str) -> bool:
        return text in self.short or any(form in self.concepts for form in _forms(text))


@cache
def vocabulary() -> Vocabulary:
    """Return the vocabulary of this project."""
    found = tomllib.loads(files("lume_local._mapping").joinpath("words.toml").read_text("utf-8"))
    concepts: dict[str, set[str]] = {}
    for concept, words in found["concepts"].items():
        for word in words.split():
            concepts.setdefault(word, set()).add(concept)
    return Vocabulary(
        {word: frozenset(meant) for word, meant in concepts.items()},
        {short: words.split() for short, words in found["short"].items()},
        frozenset(found["fillers"].split()),
        frozenset(found["weak"].split()),
        frozenset(frozenset(pair) for group in found["near"] for pair in combinations(group.split(), 2)),
    )


def plain(name: str) -> str:
    """Return the name without case, width and accents."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def parts(name: str) -> list[str]:
    """Return the visible words of a name: `customerID_2` is customer, id, 2."""
    apart = _CAMEL.sub(" ", _MAIL.sub(" email ", unicodedata.normalize("NFKC", name)))
    return _WORD.findall(plain(apart))


def words(name: str, context: Collection[str] = ()) -> tuple[Word, ...]:
    """Return the words of a name; `context` has words of other names, at which a compound may be split."""
    known = vocabulary()
    found: list[Word] = []
    for part in parts(name):
        for text in known.short.get(part) or _split(part, context):
            found += map(known.word, known.short.get(text, [text]))
    return tuple(dict.fromkeys(found))


def context_of(names: Iterable[str]) -> frozenset[str]:
    """Return the words at which the compounds in these names may be split."""
    return frozenset(part for name in names for part in parts(name) if len(part) >= 3 and part.isalpha())


def _split(text: str, context: Collection[str]) -> list[str]:
    """Return the words of a compound such as accountnumber or rechnungsdatum; else the text alone."""
    known = vocabulary()
    if known.knows(text) or not 5 <= len(text) <= _LONGEST or not text.isalpha():
        return [text]
    best: list[list[str] | None] = [[]] + [None] * len(text)
    for end in range(2, len(text) + 1):
        for start in range(end - 1):
            before, part = best[start], text[start:end]
            if before is None or part == text or (found := _part(part, context)) is None:
                continue
            if best[end] is None or len(before) + 1 < len(best[end] or ()):
                best[end] = [*before, found]
    return best[-1] or [text]


def _part(text: str, context: Collection[str]) -> str | None:
    """Return the word for this part of a compound; None if it is not a word."""
    known = vocabulary()
    for link in _LINKS:
        word = text.removesuffix(link) if link else text
        if (len(word) < len(text)) == bool(link) and (len(word) >= 3 or word in _SHORT_PARTS):
            if word in known.fillers and len(word) < 4 and word not in _SHORT_PARTS:
                continue
            if word in context or known.knows(word):
                return word
    return None


@cache
def _forms(text: str) -> tuple[str, ...]:
    """Return spellings under which a word may be known."""
    umlauts = text.replace("ae", "a").replace("oe", "o").replace("ue", "u")
    return tuple(dict.fromkeys((text, _singular(text), umlauts, _singular(umlauts))))


@cache
def _singular(text: str) -> str:
    if len(text) > 4 and text.endswith("ies"):
        return text[:-3] + "y"
    if len(text) > 5 and text.endswith(("sses", "xes")):
        return text[:-2]
    if len(text) > 3 and text.endswith("s") and not text.endswith(("ss", "us", "is")):
        return text[:-1]
    return text
