"""Manifests for tests: an EdgeFunction from its source in one call."""

import json
from collections.abc import Mapping
from typing import Any


def edge_function(
    name: str,
    source: str | Mapping[str, str],
    *,
    entrypoint: str = "index.js",
    env: Mapping[str, str] | None = None,
    timeout: str | None = None,
    history_limit: int | None = None,
) -> str:
    """Return an EdgeFunction as JSON, which is YAML too.

    Args:
        name: of the function.
        source: its only file's text, or its files by path.
        entrypoint: one of the files.
        env: its environment.
        timeout: such as "1s".
        history_limit: spec.revisionHistoryLimit.
    """
    files = {entrypoint: source} if isinstance(source, str) else source
    template: dict[str, Any] = {
        "mode": "backend",
        "code": {
            "jsSource": {
                "entrypoint": entrypoint,
                "assets": {"files": [{"path": path, "content": text} for path, text in files.items()]},
            }
        },
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        "runtime": {"timeout": timeout} if timeout else {},
    }
    spec: dict[str, Any] = {"template": template}
    if history_limit is not None:
        spec["revisionHistoryLimit"] = history_limit
    return json.dumps(
        {
            "apiVersion": "extensions.apoxy.dev/v1alpha2",
            "kind": "EdgeFunction",
            "metadata": {"name": name},
            "spec": spec,
        }
    )


def answering(text: str) -> str:
    """Return the source of a function that answers every request with `text`."""
    return f"export default {{ async fetch() {{ return new Response({json.dumps(text)}); }} }};"
