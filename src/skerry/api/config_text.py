"""Objects that users write as text within a field: JSON, or YAML. Pure."""

from typing import Any

import orjson
import yaml

#: Far above any configuration; it goes into Envoy's own as it is.
CONFIG_BYTES_MAX = 256 * 1024
#: Of lists and objects in each other. The time that YAML takes to read grows with the square of the levels.
LEVELS_MAX = 100

_BEGINS = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_ENDS = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


def config_json(text: str) -> str:
    """Return the object that a text holds as JSON, with sorted keys: equal objects are equal texts.

    Raises:
        ValueError: it holds none that JSON can express, or is too long; what is wrong, and what is accepted.
    """
    if len(text.encode()) > CONFIG_BYTES_MAX:
        raise ValueError(f"must have at most {CONFIG_BYTES_MAX} bytes")
    try:
        value = _read(text)
        written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if isinstance(value, dict) else ""
    except (yaml.YAMLError, orjson.JSONEncodeError, RecursionError) as error:
        raise ValueError(f"must hold a JSON or YAML object: {error}") from error
    if not written:
        raise ValueError("must hold a JSON or YAML object")
    return written


def _read(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    _require_bounded(text)
    return yaml.safe_load(text)


def _require_bounded(text: str) -> None:
    """Refuse a YAML text that takes far more time or memory than its length tells."""
    levels = 0
    for token in yaml.scan(text):
        if type(token) is yaml.AliasToken:  # it stands for what may be long, and hold aliases again
            raise ValueError("must hold no YAML aliases")
        levels += isinstance(token, _BEGINS) - isinstance(token, _ENDS)
        if levels > LEVELS_MAX:
            raise ValueError(f"must hold a JSON or YAML object of at most {LEVELS_MAX} levels")
