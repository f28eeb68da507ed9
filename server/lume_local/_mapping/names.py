"""The similarity of the names of two columns. Pure.

Names are compared word by word. A word weighs less if many columns have it, if it is a filler such as `is`, or if
it is part of the table's name. The strings themselves are compared by rapidfuzz.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log

from attrs import frozen
from rapidfuzz.distance import Indel

from lume_local._flow.aliases import folded
from lume_local._mapping.words import Word, context_of, vocabulary, words

SAME, SYNONYM, SHORT, ALIKE, NEAR = 1.0, 0.95, 0.8, 0.75, 0.5
"""Similarity of two words: equal, synonymous, one abbreviating the other, almost equal, related in meaning."""
_FILLER, _WEAK, _TABLE = 0.1, 0.6, 0.25


@frozen
class NameMatch:
    """The similarity of two names.

    Attributes:
        same: whether they differ at most in case, accents, blanks and punctuation.
        target: the share of the target's name found in the source's, by weight.
        source: the reverse.
        target_left: the weight of the target's words that the source lacks.
        source_left: the reverse.
        worst: the similarity of the least similar pair of words; 1 if there is none.
        head: whether the last words match.
        ratio: the similarity of the strings.
        digits: whether both contain numbers, but different ones.
        pairs: the matching words as spelled.
    """

    same: bool
    target: float
    source: float
    target_left: float
    source_left: float
    worst: float
    head: bool
    ratio: float
    digits: bool
    pairs: tuple[tuple[str, str], ...]

    @property
    def both(self) -> float:
        """One number: 1 if neither name contains anything that the other lacks."""
        return 1.0 if self.same else self.target * self.source


@frozen
class Name:
    """A name, prepared for comparison."""

    text: str
    folded: str
    words: tuple[Word, ...]
    weights: tuple[float, ...]
    digits: frozenset[str]

    @property
    def total(self) -> float:
        return sum(self.weights)


class Names:
    """The names of two tables, compared.

    Args:
        tables: the names of both tables; columns may omit their words.
    """

    def __init__(self, targets: Sequence[str], sources: Sequence[str], tables: Iterable[str] = ()) -> None:
        context = context_of([*targets, *sources, *tables])
        split = {name: words(name, context) for name in dict.fromkeys([*targets, *sources])}
        self._table = {word for name in tables for word in words(name, context)}
        self._count = Counter(word for name in targets for word in split[name])
        self._count |= Counter(word for name in sources for word in split[name])
        self._most = max(len(targets), len(sources))
        self._alike: dict[tuple[Word, Word], float] = {}
        self.targets = [self._name(name, split[name]) for name in targets]
        self.sources = [self._name(name, split[name]) for name in sources]

    def _name(self, text: str, found: tuple[Word, ...]) -> Name:
        weights = tuple(map(self._weight, found))
        return Name(text, folded(text), found, weights, frozenset(w.text for w in found if w.text.isdigit()))

    def _weight(self, word: Word) -> float:
        known = vocabulary()
        if word.text in known.fillers:
            return _FILLER
        base = _WEAK if word.text in known.weak or word.concepts & known.weak else 1.0
        often = log(self._count[word] or 1) / log(self._most + 1)
        return base * (1 - 0.6 * often)

    def match(self, target: Name, source: Name) -> NameMatch:
        """Compare two of the names."""
        if target.folded == source.folded:
            both = tuple((word.text, word.text) for word in target.words)
            return NameMatch(True, 1.0, 1.0, 0.0, 0.0, 1.0, True, 1.0, False, both)
        found = self._matching(target, source)
        of_target = sum(alike * target.weights[t] for t, _, alike in found)
        of_source = sum(alike * source.weights[s] for _, s, alike in found)
        left, right = {t for t, _, _ in found}, {s for _, s, _ in found}
        target_left = self._left(target, left)
        source_left = self._left(source, right)
        has_more = max(of_target, of_source) > 0
        return NameMatch(
            same=False,
            target=of_target / (sum(target.weights[t] for t in left) + target_left) if has_more else 0.0,
            source=of_source / (sum(source.weights[s] for s in right) + source_left) if has_more else 0.0,
            target_left=target_left,
            source_left=source_left,
            worst=min((alike for *_, alike in found), default=0.0),
            head=any(t == len(target.words) - 1 and s == len(source.words) - 1 for t, s, _ in found),
            ratio=self._ratio(target, source, left, right),
            digits=bool(target.digits and source.digits and target.digits != source.digits),
            pairs=tuple((target.words[t].text, source.words[s].text) for t, s, _ in found),
        )

    def _ratio(self, target: Name, source: Name, left: set[int], right: set[int]) -> float:
        """Return the similarity of the strings; 0 if all remaining words are known to mean something else."""
        rest = [word for n, word in enumerate(target.words) if n not in left]
        rest += [word for n, word in enumerate(source.words) if n not in right]
        if rest and all(word.concepts or word.text in vocabulary().fillers for word in rest):
            return 0.0
        return Indel.normalized_similarity(target.folded, source.folded)

    def _left(self, name: Name, matched: set[int]) -> float:
        return sum(
            weight * (_TABLE if word in self._table else 1.0)
            for n, (word, weight) in enumerate(zip(name.words, name.weights, strict=True))
            if n not in matched
        )

    def _matching(self, target: Name, source: Name) -> list[tuple[int, int, float]]:
        """Return the matching words, each once, the most similar first."""
        pairs = [
            (alike, -abs(t - s), t, s)
            for t, one in enumerate(target.words)
            for s, other in enumerate(source.words)
            if (alike := self._words_alike(one, other))
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

    def _words_alike(self, one: Word, other: Word) -> float:
        key = (one, other)
        if (known := self._alike.get(key)) is None:
            known = self._alike[key] = words_alike(one, other)
        return known


def words_alike(one: Word, other: Word) -> float:
    """Return the similarity of two words, 0 to 1."""
    if one.text == other.text:
        return SAME
    if one.concepts & other.concepts:
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


def _abbreviates(short: str, long: str) -> bool:
    """Return whether it has the first letter and some others in order, but few vowels: mgr, acct, qty."""
    if not 2 <= len(short) <= 5 or len(long) < len(short) + 2 or short[0] != long[0]:
        return False
    if sum(letter in "aeiou" for letter in short[1:]) > len(short) // 3:
        return False
    rest = iter(long)
    return all(letter in rest for letter in short)
