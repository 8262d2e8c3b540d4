"""From YAML to JSON values, bounded. Pure.

PyYAML's safe loader is safe from running code, not from its input: explicit tags reach constructors that fail in ways
of their own, numbers to the base of 60 cost the square of their length, infinity has no form in JSON. So tags are
refused but those that say what is so anyway, and numbers are read as JSON has them.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import orjson
import yaml
from yaml.parser import ParserError
from yaml.reader import ReaderError
from yaml.scanner import ScannerError

from skerry.api.errors import BadRequest, RequestEntityTooLarge
from skerry.api.shapes import DEPTH_MAX, too_deep

#: Scalars, lists and maps of one YAML body: its parser is too slow for more. As JSON a body may hold any number.
YAML_NODES_MAX = 100_000

_YAML = "tag:yaml.org,2002:"
_TAGS = frozenset({None, "!", f"{_YAML}str", f"{_YAML}seq", f"{_YAML}map"})
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0[0-7_]+|0b[01_]+|0x[0-9a-fA-F_]+)\Z")
_NUMBER = re.compile(
    r"[-+]?(?:(?:\.[0-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*)(?:e[-+]?[0-9]+)?|[0-9][0-9_]*e[-+]?[0-9]+|\.inf|\.nan)\Z",
    re.IGNORECASE,
)
#: What is read otherwise than PyYAML does.
_REPLACED = frozenset({f"{_YAML}timestamp", f"{_YAML}int", f"{_YAML}float"})


class _JsonLoader(yaml.CSafeLoader):
    """YAML as JSON has it: dates stay text, numbers are finite and to the base of 10 (or 2, 8, 16)."""


def _finite(loader: yaml.CSafeLoader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).lower().replace("_", "")
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(value):
        raise yaml.constructor.ConstructorError(None, None, "the number is not finite", node.start_mark)
    return value


_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_JsonLoader.add_implicit_resolver(f"{_YAML}int", _INTEGER, list("-+0123456789"))
_JsonLoader.add_implicit_resolver(f"{_YAML}float", _NUMBER, list("-+.0123456789"))
_JsonLoader.add_constructor(f"{_YAML}float", _finite)


def parse_yaml(raw: bytes) -> tuple[Any, tuple[str, ...]]:
    """Parse one YAML document (or JSON, which it contains) into JSON values.

    Aliases are refused: a few of them make a document that no memory holds.

    Returns:
        The value, and the paths of duplicate fields; the last one counts.

    Raises:
        BadRequest: it is not valid, nested too deep, or has no JSON form.
        RequestEntityTooLarge: it has more than `YAML_NODES_MAX` values.
    """
    try:
        text = raw.decode()
        _check_events(text)
        loader = _JsonLoader(text)
        node = loader.get_single_node()
        value = loader.construct_document(node) if node is not None else None
        # Writing it once shows what JSON can't hold: keys that are no text, integers over 64 bits, lone surrogates.
        return orjson.loads(orjson.dumps(value)), tuple(dict.fromkeys(_duplicate_paths(node, "")))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise BadRequest(f"the body of the request is not valid YAML: {_problem(error)}") from error


def _problem(error: Exception) -> str:
    """Say what is wrong without quoting a value, which may be a secret."""
    match error:
        case ScannerError() | ParserError() | ReaderError() | UnicodeDecodeError() | orjson.JSONEncodeError():
            return str(error)  # of grammar and characters
        case yaml.MarkedYAMLError(problem_mark=mark) if mark is not None:
            return f"line {mark.line + 1}, column {mark.column + 1} has no JSON form"
        case _:
            return "a number has no JSON form"


def _check_events(text: str) -> None:
    """Refuse what costs more than its bytes, before anything is built of it."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_JsonLoader):
        match event:
            case yaml.AliasEvent():
                raise BadRequest("the body of the request has a YAML alias, which is not accepted here")
            case yaml.ScalarEvent() | yaml.CollectionStartEvent():
                if event.tag not in _TAGS:
                    raise BadRequest("the body of the request has an explicit YAML tag, which is not accepted here")
                nodes += 1
                if nodes > YAML_NODES_MAX:
                    raise RequestEntityTooLarge(f"a YAML body may hold at most {YAML_NODES_MAX} values: send JSON")
                depth += isinstance(event, yaml.CollectionStartEvent)
                if depth > DEPTH_MAX:
                    raise too_deep()
            case yaml.CollectionEndEvent():
                depth -= 1


def _duplicate_paths(node: yaml.Node | None, path: str) -> Iterator[str]:
    match node:
        case yaml.MappingNode():
            seen: set[str] = set()
            for key, item in node.value:
                below = f"{path}.{key.value}" if path else str(key.value)
                if below in seen:
                    yield below
                seen.add(below)
                yield from _duplicate_paths(item, below)
        case yaml.SequenceNode():
            for index, item in enumerate(node.value):
                yield from _duplicate_paths(item, f"{path}[{index}]")
