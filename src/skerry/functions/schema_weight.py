"""How much work a JSON Schema makes of a value: the most checks of any one place in it. Pure.

A validator does as it is told: forty definitions that each refer to the next one twice are checked a million million
times, and who registers a function writes the schema. So schemas are weighed before they are used, and a value that is
too large for the weight of its schema is not checked (validation.py).

Owns the walk over a schema: which of its subschemas meet at one place of a value, and how often each. Those below
different properties never meet; those below different patterns of names may, and are taken to.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from typing import Any
from urllib.parse import unquote, urljoin

from skerry.functions.errors import SchemaError

#: A schema may ask for this many checks of one place, and have so many subschemas.
WEIGHT_MAX = 100_000
SUBSCHEMAS_MAX = 10_000
#: What may be looked at to find that out: the subschemas that meet at each place, and each that they apply.
STEPS_MAX = 100_000
#: An object or a list among the alternatives of `enum`, in checks (measured: 1.1 us, a check 35 ns).
COMPOUND_WEIGHT = 30
#: How often what stands beside `unevaluatedProperties` is looked at (measured: 2.7).
UNEVALUATED_FACTOR = 3

_FEWER = "use fewer references and combinations"
_REFERENCES = ("$ref", "$dynamicRef")
_IN_PLACE = ("not", "if", "then", "else")
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE_MAPS = ("dependencies", "dependentSchemas")
_OF_OTHER_MEMBERS = ("additionalProperties", "unevaluatedProperties")
_OF_OTHER_ITEMS = ("items", "additionalItems", "unevaluatedItems")


@dataclass(slots=True)
class _Subschema:
    """What a subschema costs, and which others it applies, by their numbers.

    Attributes:
        weight: its own checks.
        in_place: applied to the same value, with how often.
        named: to the member of a name; to the item of an index.
        others: to the members, to the items, that it does not name.
        every: to each member, to each item.
        names: to the members' names.
    """

    weight: int
    in_place: Counter[int] = field(default_factory=Counter)
    named: tuple[dict[str | int, int], dict[str | int, int]] = field(default_factory=lambda: ({}, {}))
    others: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    every: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    names: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Weight:
    """What a schema takes.

    Attributes:
        checks: how many it makes, at most, of any one place in a value.
        alternatives: whether it has `anyOf` or `oneOf`, of which each alternative fails for reasons of its own.
    """

    checks: int
    alternatives: bool


def weight_of(schema: Mapping[str, Any]) -> Weight:
    """Return what a valid schema takes.

    Raises:
        SchemaError: more than `WEIGHT_MAX`, or that can't be told: it is too large or too entangled, or a reference
            leads out of the schema, or back to itself without going deeper.
    """
    reading = _Reading(schema)
    subschemas = reading.subschemas
    meetings = _Meetings(subschemas)
    heaviest, waiting = 0, [Counter({0: 1})]
    seen = set[frozenset[tuple[int, int]]]()
    while waiting:
        applied = meetings.in_place(waiting.pop())
        heaviest = max(heaviest, sum(subschemas[number].weight * count for number, count in applied.items()))
        if heaviest > WEIGHT_MAX:
            raise SchemaError(f"makes over {WEIGHT_MAX} checks of one value: {_FEWER}")
        for below in meetings.below(applied):
            state = frozenset(below.items())
            if state and state not in seen:
                seen.add(state)
                waiting.append(below)
    return Weight(heaviest, reading.alternatives)


class _Meetings:
    """Tells which subschemas meet at a value, given that some are applied to it or to what holds it."""

    def __init__(self, subschemas: list[_Subschema]) -> None:
        self._steps = 0
        self._subschemas = subschemas
        order = TopologicalSorter[int]()
        for number, subschema in enumerate(subschemas):
            order.add(number)
            for other in subschema.in_place:
                order.add(other, number)
        try:
            self._ranks = {number: rank for rank, number in enumerate(order.static_order())}
        except CycleError as error:
            raise SchemaError("$ref: leads back to itself without going deeper into the value") from error

    def in_place(self, applied: Counter[int]) -> Counter[int]:
        """Return subschemas and all that they apply to the same value."""
        total = Counter(applied)
        waiting = sorted((self._ranks[number], number) for number in applied)
        while waiting:  # by rank: whatever applies one comes before it
            number = heappop(waiting)[1]
            self._take(1 + len(self._subschemas[number].in_place))
            for other, count in self._subschemas[number].in_place.items():
                if other not in total:
                    heappush(waiting, (self._ranks[other], other))
                total[other] += total[number] * count
        return total

    def below(self, applied: Counter[int]) -> Iterator[Counter[int]]:
        """Yield what meets one level deeper: at each member and item that is named, at any other, at a name."""
        used = [(self._subschemas[number], count) for number, count in applied.items()]
        for kind in (0, 1):
            others = self._sum(((*subschema.others[kind], *subschema.every[kind]), count) for subschema, count in used)
            yield others
            for name, namers in _by_name(used, kind).items():
                found = Counter(others)
                self._take(len(found))
                for subschema, count in namers:
                    found.subtract(dict.fromkeys(subschema.others[kind], count))
                    found[subschema.named[kind][name]] += count
                yield +found
        yield self._sum((subschema.names, count) for subschema, count in used)

    def _sum(self, parts: Iterable[tuple[Iterable[int], int]]) -> Counter[int]:
        total = Counter[int]()
        for numbers, count in parts:
            for number in numbers:
                self._take(1)
                total[number] += count
        return total

    def _take(self, steps: int) -> None:
        self._steps += steps
        if self._steps > STEPS_MAX:
            raise SchemaError(f"is too entangled to tell how many checks it makes: {_FEWER}")


def _by_name(used: Iterable[tuple[_Subschema, int]], kind: int) -> dict[str | int, list[tuple[_Subschema, int]]]:
    found = defaultdict[str | int, list[tuple[_Subschema, int]]](list)
    for subschema, count in used:
        for name in subschema.named[kind]:
            found[name].append((subschema, count))
    return found


class _Reading:
    """Reads a schema into its subschemas; the schema itself is the first."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.subschemas: list[_Subschema] = []
        self.alternatives = False
        self._places = _Places(schema)
        self._numbers: dict[int, int] = {}
        self._unread: list[tuple[int, Mapping[str, Any], Mapping[str, Any]]] = []
        self._add(schema, schema)
        while self._unread:
            self._read(*self._unread.pop())

    def _add(self, schema: Mapping[str, Any], base: Mapping[str, Any]) -> int:
        """Return the number of a subschema, a new one where it is met for the first time."""
        if (known := self._numbers.get(id(schema))) is not None:
            return known
        number = self._numbers[id(schema)] = len(self.subschemas)
        if number == SUBSCHEMAS_MAX:
            raise SchemaError(f"has more than {SUBSCHEMAS_MAX} subschemas")
        self.subschemas.append(_Subschema(_own_weight(schema)))
        self._unread.append((number, schema, schema if self._places.is_base(schema) else base))
        return number

    def _read(self, number: int, schema: Mapping[str, Any], base: Mapping[str, Any]) -> None:
        def numbers(*found: object) -> list[int]:
            return [self._add(each, base) for each in found if isinstance(each, dict)]

        subschema = self.subschemas[number]
        self.alternatives |= "anyOf" in schema or "oneOf" in schema
        factor = UNEVALUATED_FACTOR if schema.keys() & {"unevaluatedItems", "unevaluatedProperties"} else 1
        beside = [schema.get(key) for key in _IN_PLACE]
        beside += [each for key in _IN_PLACE_LISTS for each in _list(schema.get(key))]
        beside += [each for key in _IN_PLACE_MAPS for each in _map(schema.get(key)).values()]
        for reference in (schema[key] for key in _REFERENCES if isinstance(schema.get(key), str)):
            target, its_base = self._places.of(reference, base)
            if target is not None:
                subschema.in_place[self._add(target, its_base)] += factor
        subschema.in_place.update({each: factor * count for each, count in Counter(numbers(*beside)).items()})
        for name, each in _map(schema.get("properties")).items():
            subschema.named[0].update((name, number) for number in numbers(each))
        for index, each in enumerate([*_list(schema.get("prefixItems")), *_list(schema.get("items"))]):
            subschema.named[1].update((index, number) for number in numbers(each))
        members, items = subschema.others
        members += numbers(*(schema.get(key) for key in _OF_OTHER_MEMBERS))
        items += numbers(*(schema.get(key) for key in _OF_OTHER_ITEMS))
        members, items = subschema.every
        members += numbers(*_map(schema.get("patternProperties")).values())
        items += numbers(schema.get("contains"))
        subschema.names += numbers(schema.get("propertyNames"))


class _Places:
    """Finds what references lead to: by URL (`$id`, `id`), by name (`$anchor`), and by path."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._named: dict[str, Mapping[str, Any]] = {}
        self._urls: dict[int, str] = {}
        unseen: list[tuple[object, str]] = [(schema, "")]
        while unseen:
            found, url = unseen.pop()
            if isinstance(found, dict):
                url = self._note(found, url)
            unseen += [(each, url) for each in _children(found)]

    def _note(self, schema: Mapping[str, Any], url: str) -> str:
        for name in (schema.get(key) for key in ("$id", "id")):
            if isinstance(name, str) and not name.startswith("#"):
                url = self._urls[id(schema)] = urljoin(url, name.removesuffix("#"))
                self._named[url] = schema
        for name in (schema.get(key) for key in ("$anchor", "$dynamicAnchor", "$id", "id")):
            if isinstance(name, str):
                self._named.setdefault(f"#{name.removeprefix('#')}", schema)
        return url

    def is_base(self, schema: Mapping[str, Any]) -> bool:
        """Tell whether a subschema has a URL, from which references below it count."""
        return id(schema) in self._urls

    def of(self, reference: str, base: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, Mapping[str, Any]]:
        """Return what a reference leads to, None for `true` and `false`, and what references count from there.

        Raises:
            SchemaError: it leads out of the schema.
        """
        url, _, fragment = reference.partition("#")
        found: object = self._named.get(urljoin(self._urls.get(id(base), ""), url)) if url else base
        base = found if isinstance(found, dict) else base
        if fragment.startswith("/"):
            for step in fragment[1:].split("/"):
                found = _step(found, unquote(step).replace("~1", "/").replace("~0", "~"))
        elif fragment:
            found = self._named.get(f"#{fragment}")
        if isinstance(found, bool):
            return None, base
        if isinstance(found, dict):
            return found, base
        raise SchemaError(f"$ref: {reference} must lead to a place in this schema, as #/definitions/NAME does")


def _children(found: object) -> Iterable[object]:
    match found:
        case dict():
            return found.values()
        case list():
            return found
    return ()


def _step(found: object, step: str) -> object:
    match found:
        case dict():
            return found.get(step)
        case list() if step.isdecimal() and int(step) < len(found):
            return found[int(step)]
    return None


def _own_weight(schema: Mapping[str, Any]) -> int:
    compound = sum(isinstance(each, dict | list) for each in _list(schema.get("enum")))
    return 1 + len(schema) + COMPOUND_WEIGHT * compound


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


def _map(found: object) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
