"""The API as a page for people: the OpenAPI document, written as HTML that needs nothing from anywhere."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from skerry.api.model import Document
from skerry.server.dispatch.openapi import OPENAPI_PATH

DOCS_PATH = "/docs"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
summary { cursor: pointer; padding: .3rem 0 }
code, pre { font-family: ui-monospace, monospace; font-size: .9em }
pre { overflow: auto; border: 1px solid; padding: .5rem }
.method { display: inline-block; min-width: 4.5rem; font-weight: 600 }
"""


def docs_page(document: Document) -> bytes:
    """Write an OpenAPI document of ours as a page."""
    return "".join(_page(document)).encode()


def _page(document: Document) -> Iterator[str]:
    title = escape(document["info"]["title"])
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    yield f"<h1>{title}</h1><p>{escape(document['info']['description'])} "
    yield f'As OpenAPI 3.1: <a href="{OPENAPI_PATH}">{OPENAPI_PATH}</a>.</p>'
    yield "<p>Every request has a credential (<code>Authorization: Bearer …</code>) and names an organization "
    yield "(<code>X-Dispatch-Org: default</code>).</p>"
    for tag in dict.fromkeys(operation["tags"][0] for _, _, operation in _operations(document)):
        yield f"<h2>{escape(tag)}</h2>"
        for method, path, operation in _operations(document):
            if operation["tags"][0] == tag:
                yield from _operation(method, path, operation)
    yield "<h2>Schemas</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        yield f"<pre>{escape(json.dumps(schema, indent=2))}</pre></details>"
    yield "</html>"


def _operations(document: Document) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield method.upper(), path, operation


def _operation(method: str, path: str, operation: Document) -> Iterator[str]:
    yield f'<details><summary><span class="method">{method}</span> <code>{escape(path)}</code> '
    yield f"{escape(operation['summary'])}</summary><ul>"
    for parameter in operation["parameters"]:
        yield f"<li><code>?{escape(parameter['name'])}=</code> {escape(parameter['description'])}</li>"
    if body := operation.get("requestBody"):
        yield f"<li>takes {_schema(body)}</li>"
    for status, response in sorted(operation["responses"].items()):
        told = "errors" if status == "default" else status
        yield f"<li>{told}: {_schema(response) or 'nothing'}</li>"
    yield "</ul></details>"


def _schema(holder: Document) -> str:
    contents: list[Document] = list(holder.get("content", {}).values())
    schema: Document = contents[0]["schema"] if contents else {}
    name = schema.get("items", schema).get("$ref", "").rpartition("/")[2]
    if not name:
        return ""
    link = f'<a href="#{escape(name)}"><code>{escape(name)}</code></a>'
    return f"a list of {link}" if "items" in schema else link
