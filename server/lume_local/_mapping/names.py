"""The words in names of columns, and the similarity of two names. Pure.

Names are compared word by word. A word weighs less if many columns have it, if it is a filler such as `is`, or if
it is part of the table's name. The strings themselves are compared by rapidfuzz.
Synonyms and opposites are in `words.toml`.
"""

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import combinations
from math import log

from attrs import frozen
from rapidfuzz.distance import Indel

from lume_local._flow.table_bounds import folded

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_MAIL = re.compile(r"(?i:\be[-_ ]mail)|\beMail")
_WATT = re.compile(r"(?<![^\W_])[kMG]Wh?(?![^\W_])")
_SYMBOLS = str.maketrans({"€": " eur ", "$": " usd ", "£": " gbp ", "¥": " jpy ", "%": " percent "})
_WORD = re.compile(r"[^\W\d_]+|\d+")
_LINKS = ("", "s", "n", "en", "es")
"""Letters that German puts between the words of a compound."""
_SHORT_PARTS = frozenset({"id", "no", "nr", "is", "ist", "to"})
_LONGEST = 40
"""Maximum letters of a word to split."""


@frozen(cache_hash=True)
class Word:
    """A word of a name: its spelling without the plural, and its meanings."""

    text: str
    concepts: frozenset[str]


@frozen
class Vocabulary:
    """The content of `words.toml`.

    Attributes:
        apart: the pairs of `opposites` and `kinds`.
        telling: the words of `opposites`.
    """

    concepts: dict[str, frozenset[str]]
    short: dict[str, list[str]]
    fillers: frozenset[str]
    weak: frozenset[str]
    near: frozenset[frozenset[str]]
    apart: frozenset[frozenset[str]]
    telling: frozenset[str]
    negations: frozenset[str]
    prefixes: tuple[str, ...]
    last: dict[str, Word]

    def word(self, text: str) -> Word:
        """Return a word without its plural, with its concepts."""
        for form in _forms(text):
            if form in self.concepts:
                return Word(form, self.concepts[form])
        return Word(_singular(text), frozenset())

    def tells(self, word: Word) -> bool:
        return not self.is_filler(word) and not word.concepts.isdisjoint(self.telling)

    def says_little(self, word: Word) -> bool:
        return self.is_filler(word) or word.text in self.weak or not word.concepts.isdisjoint(self.weak)

    def is_filler(self, word: Word) -> bool:
        return word.text in self.fillers and word != self.last.get(word.text)

    def knows(self, text: str) -> bool:
        return text in self.short or any(form in self.concepts for form in _forms(text))


@cache
def vocabulary() -> Vocabulary:
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
        _pairs(found["near"]),
        _pairs([*found["opposites"], *found["kinds"]]),
        frozenset(word for group in found["opposites"] for word in group.split()),
        frozenset(found["negations"].split()),
        tuple(found["prefixes"].split()),
        {text: Word(text, frozenset(meant.split())) for text, meant in found["last"].items()},
    )


def _pairs(groups: Iterable[str]) -> frozenset[frozenset[str]]:
    return frozenset(frozenset(pair) for group in groups for pair in combinations(group.split(), 2))


def plain(name: str) -> str:
    """Return the name without case, width and accents."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def parts(name: str) -> list[str]:
    """Return the visible words of a name: `customerID_2` is customer, id, 2."""
    text = _MAIL.sub(" email ", unicodedata.normalize("NFKC", name).translate(_SYMBOLS))
    text = _WATT.sub(lambda found: found[0].lower(), text)
    return _WORD.findall(plain(_CAMEL.sub(" ", text)))


def words(name: str, context: Collection[str] = ()) -> tuple[Word, ...]:
    """Return the words of a name; `context` has words of other names, at which a compound may be split."""
    known = vocabulary()
    texts: list[str] = []
    for part in parts(name):
        short = next((known.short[form] for form in _forms(part) if form in known.short), None)
        for text in short or _split(part, context):
            texts += known.short.get(text, [text])
    found = list(map(known.word, texts))
    if texts and texts[-1] in known.last and (len(texts) > 1 or len(texts[-1]) > 1):
        found[-1] = known.last[texts[-1]]
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


SAME, SYNONYM, SHORT, ALIKE, NEAR = 1.0, 0.95, 0.8, 0.75, 0.5
"""Similarity of two words: equal, synonymous, one abbreviating the other, almost equal, related in meaning."""
_FILLER, _WEAK, _TABLE = 0.1, 0.6, 0.25


@frozen
class NameMatch:
    """The similarity of two names.

    Attributes:
        same: whether they differ at most in case, accents, blanks and punctuation.
        both: the share of each name that is found in the other, by weight, multiplied.
        target_left: the weight of the target's words that the source lacks.
        source_left: the reverse.
        left: the larger of both, if only the whole name of a table goes without saying.
        worst: the similarity of the least similar pair of words; 1 if there is none.
        ratio: the similarity of the strings.
        digits: whether both contain numbers, but different ones.
        opposed: whether each has a word that excludes the other's, as all numbers do, or one has a negation.
        doubtful: words that only one has, or that are only near each other, and that may make it another column.
        pairs: the matching words as spelled.
    """

    same: bool
    both: float
    target_left: float
    source_left: float
    left: float
    worst: float
    ratio: float
    digits: bool
    opposed: bool
    doubtful: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]


@frozen
class Name:
    """A name, prepared for comparison.

    Attributes:
        left: the weight of each word that the other name lacks: less if it is in the name of a table.
        whole: the same, but less only for words that are the whole name of a table.
        implied: these words.
    """

    text: str
    folded: str
    words: tuple[Word, ...]
    weights: tuple[float, ...]
    left: tuple[float, ...]
    whole: tuple[float, ...]
    implied: frozenset[Word]
    digits: frozenset[str]


class Names:
    """The names of two tables, compared.

    Args:
        tables: the names of both tables; columns may omit one as a whole, but for numbers and fillers.
    """

    def __init__(self, targets: Sequence[str], sources: Sequence[str], tables: Iterable[str] = ()) -> None:
        context = context_of([*targets, *sources, *tables])
        split = {name: words(name, context) for name in dict.fromkeys([*targets, *sources])}
        self._tables = [
            frozenset(w for w in words(name, context) if not (w.text.isdigit() or vocabulary().is_filler(w)))
            for name in tables
        ]
        self._of_tables = frozenset[Word]().union(*self._tables)
        self._count = Counter(word for name in targets for word in split[name])
        self._count |= Counter(word for name in sources for word in split[name])
        self._most = max(len(targets), len(sources))
        self._alike, self._exclude = cache(words_alike), cache(exclude)
        self.targets = [self._name(name, split[name]) for name in targets]
        self.sources = [self._name(name, split[name]) for name in sources]

    def _name(self, text: str, found: tuple[Word, ...]) -> Name:
        weights = tuple(map(self._weight, found))
        implied = frozenset[Word]().union(*(table for table in self._tables if table.issubset(found)))
        digits = frozenset(w.text.lstrip("0") for w in found if w.text.isdigit())
        left, whole = (
            tuple(w * (_TABLE if word in less else 1.0) for word, w in zip(found, weights, strict=True))
            for less in (self._of_tables, implied)
        )
        return Name(text, folded(text), found, weights, left, whole, implied, digits)

    def _weight(self, word: Word) -> float:
        known = vocabulary()
        if known.is_filler(word):
            return _FILLER
        base = _WEAK if known.says_little(word) else 1.0
        often = log(self._count[word] or 1) / log(self._most + 1)
        return base * (1 - 0.6 * often)

    def match(self, target: Name, source: Name) -> NameMatch:
        if target.folded == source.folded:
            both = tuple((word.text, word.text) for word in target.words)
            return NameMatch(True, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, False, False, (), both)
        found = self._matching(target, source)
        of_target = sum(alike * target.weights[t] for t, _, alike in found)
        of_source = sum(alike * source.weights[s] for _, s, alike in found)
        left, right = {t for t, _, _ in found}, {s for _, s, _ in found}
        target_left = _sum_without(target.left, left)
        source_left = _sum_without(source.left, right)
        whole_target = sum(target.weights[t] for t in left) + target_left
        whole_source = sum(source.weights[s] for s in right) + source_left
        is_alike = max(of_target, of_source) > 0
        rest_t = [word for n, word in enumerate(target.words) if n not in left]
        rest_s = [word for n, word in enumerate(source.words) if n not in right]
        rest = [*rest_t, *rest_s]
        has_digits = bool(target.digits and source.digits)
        pairs = [(target.words[t], source.words[s]) for t, s, _ in found]
        known = vocabulary()
        if rest and all(word.concepts or word.text in known.fillers for word in rest):
            ratio = 0.0
        else:
            ratio = Indel.normalized_similarity(target.folded, source.folded)
        unsaid = [word for word in rest_t if word not in target.implied]
        unsaid += [word for word in rest_s if word not in source.implied]
        return NameMatch(
            same=False,
            both=of_target / whole_target * (of_source / whole_source) if is_alike else 0.0,
            target_left=target_left,
            source_left=source_left,
            left=max(_sum_without(target.whole, left), _sum_without(source.whole, right)),
            worst=min((alike for *_, alike in found), default=0.0),
            ratio=ratio,
            digits=has_digits and target.digits != source.digits,
            opposed=(has_digits and target.digits.isdisjoint(source.digits))
            or any(word.concepts & known.negations for word in rest)
            or any(self._exclude(one, other) for one in rest_t for other in rest_s),
            doubtful=tuple(word.text for word in self._doubtful(pairs, unsaid)),
            pairs=tuple((one.text, other.text) for one, other in pairs),
        )

    def _matching(self, target: Name, source: Name) -> list[tuple[int, int, float]]:
        """Return the places of matching words with their similarity, the most similar first, each word once."""
        pairs = [
            (alike, -abs(t - s), t, s)
            for t, one in enumerate(target.words)
            for s, other in enumerate(source.words)
            if (alike := self._alike(one, other))
        ]
        pairs.sort(reverse=True)
        found: list[tuple[int, int, float]] = []
        used_t, used_s = set[int](), set[int]()
        for alike, _, t, s in pairs:
            if t not in used_t and s not in used_s:
                found.append((t, s, alike))
                used_t.add(t)
                used_s.add(s)
        return found

    def _doubtful(self, pairs: Sequence[tuple[Word, Word]], unsaid: Sequence[Word]) -> Iterator[Word]:
        """Yield the words by which names with these pairs may be of different columns; `unsaid` has only one name."""
        known = vocabulary()
        yield from (one for one, other in pairs if self._exclude(one, other))
        if pairs:  # else it is not the names that speak for it
            of_any = all(known.says_little(one) or known.tells(one) for one, _ in pairs)  # an id, a name, net
            for word in unsaid:
                if known.tells(word) or (of_any and not known.says_little(word)):
                    yield word


def are_opposed(one: str, other: str) -> bool:
    """Return whether two names exclude each other."""
    names = Names([one], [other])
    return names.match(names.targets[0], names.sources[0]).opposed


def _sum_without(weights: Sequence[float], matched: set[int]) -> float:
    return sum([weight for n, weight in enumerate(weights) if n not in matched])


def words_alike(one: Word, other: Word) -> float:
    """Return the similarity of two words, 0 to 1."""
    if one.text == other.text:
        return SAME
    if one.concepts & other.concepts:
        return SYNONYM
    if _negates(one, other):
        return 0.0
    if any(a.concepts & b.concepts for a in _negated(one.text) for b in _negated(other.text)):
        return SYNONYM
    if one.text.isdigit() or other.text.isdigit():
        return 0.0
    short, long = sorted((one.text, other.text), key=len)
    if len(short) >= 3 and long.startswith(short) and not (one.concepts and other.concepts):
        return SHORT
    if one.concepts and other.concepts:
        near = vocabulary().near
        if any(frozenset((a, b)) in near for a in one.concepts for b in other.concepts):
            return NEAR
        return 0.0  # both words are known, and mean different things
    if _abbreviates(short, long):
        return SHORT * 0.8
    ratio = Indel.normalized_similarity(short, long)
    if ratio >= 0.8 and len(short) >= 4:
        return ALIKE * ratio
    return 0.0


def exclude(one: Word, other: Word) -> bool:
    """Return whether names with one of the words each are of different columns."""
    if one.text == other.text or one.concepts & other.concepts:
        return False
    apart = vocabulary().apart
    if any(frozenset((a, b)) in apart for a in one.concepts for b in other.concepts):
        return True
    return _negates(one, other)


def _negates(one: Word, other: Word) -> bool:
    """Return whether one of two words is the other with a prefix that makes it the opposite."""
    return any(
        base.text == short.text or base.concepts & short.concepts
        for long, short in ((one, other), (other, one))
        for base in _negated(long.text)
    )


@cache
def _negated(text: str) -> tuple[Word, ...]:
    """Return the words of which this may be the opposite: inactive, unpaid, désactivé."""
    known = vocabulary()
    rests = (text.removeprefix(prefix) for prefix in known.prefixes)
    return tuple(known.word(rest) for rest in rests if 3 <= len(rest) < len(text))


def _abbreviates(short: str, long: str) -> bool:
    """Return whether it has the first letter and some others in order, but few vowels: mgr, acct, qty."""
    if not 2 <= len(short) <= 5 or len(long) < len(short) + 2 or short[0] != long[0]:
        return False
    if sum(letter in "aeiou" for letter in short[1:]) > len(short) // 3:
        return False
    rest = iter(long)
    return all(letter in rest for letter in short)
