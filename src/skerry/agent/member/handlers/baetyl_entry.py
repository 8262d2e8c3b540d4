"""Calls the functions of a service of Baetyl by their names: what a function process of Python loads on a node.

Beside it lies functions.json: `{"code": FOLDER, "functions": [{"name", "handler", "codedir"}]}`. A handler is
`module.function`, the module in `codedir` of the folder of the code; it gets an event and a context, and returns bytes,
None, or what JSON can say. It runs on the function's own Python, so it imports the standard library alone.
"""

import base64
import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any


def load(told: dict[str, Any]) -> dict[str, Any]:
    """Return the functions by their names, in their order."""
    sys.path.insert(0, told["code"])
    found: dict[str, Any] = {}
    for each in told["functions"]:
        module, _, name = each["handler"].rpartition(".")
        folders = [part for part in each["codedir"].split("/") if part not in ("", ".")]
        found[each["name"]] = getattr(importlib.import_module(".".join([*folders, module])), name)
    return found


FUNCTIONS = load(json.loads(Path(__file__).with_name("functions.json").read_text()))


def handle(context: dict[str, str], payload: dict[str, Any]) -> Any:
    """Call the function that the context names; see agent/member/functions.py for what comes and goes."""
    event = base64.b64decode(payload["bytes"]) if "bytes" in payload else payload["json"]
    output = FUNCTIONS[context["functionName"]](event, context)
    return _awaited(output) if inspect.isawaitable(output) else _told(output)


async def _awaited(output: Any) -> dict[str, Any]:
    return _told(await output)


def _told(output: Any) -> dict[str, Any]:
    if output is None:
        return {}
    return {"bytes": base64.b64encode(output).decode()} if isinstance(output, bytes) else {"json": output}
