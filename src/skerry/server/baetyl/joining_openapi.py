"""The routes of devices and nodes in the OpenAPI document: they are no operations on objects, so they stand here."""

from pydantic import BaseModel

from skerry.api.model import Document
from skerry.server.baetyl.activation import ActivationRequest
from skerry.server.baetyl.schemas import TEXT, array, ref, whole

#: Bodies that only these routes take.
JOINING_BODIES: tuple[type[BaseModel], ...] = (ActivationRequest,)
JOINING_SCHEMAS: Document = {
    "NodeCertificate": whole({"ca": TEXT, "key": TEXT, "cert": TEXT}, "ca", "key", "cert"),
    "Activated": whole(
        {"nodeName": TEXT, "namespace": TEXT, "certificate": ref("NodeCertificate")},
        *("nodeName", "namespace", "certificate"),
    ),
    "Report": {"type": "object", "description": "What a node says of itself; docs/reference/baetyl-sync.md."},
    "Delta": {"type": ["object", "null"], "description": "What it has to change."},
    "Infos": whole({"infos": array(whole({"kind": TEXT, "name": TEXT, "version": TEXT}, "kind", "name"))}, "infos"),
    "Known": whole(
        {"objects": {"type": "object", "additionalProperties": TEXT, "description": "Versions by key."}}, "objects"
    ),
    "Statuses": whole({"statuses": {"type": "object", "description": "Statuses by key."}}, "statuses"),
    "Taken": {"type": "object"},
    "Values": whole({"values": array({"type": "object"})}, "values"),
}
_TOKEN: Document = {
    "name": "token",
    "in": "query",
    "required": True,
    "description": "An install token.",
    "schema": TEXT,
}


_LINK: Document = {
    "summary": "Report, be told, and take commands, over a WebSocket",
    "description": "In frames of JSON: kind, meta and content; docs/reference/baetyl-sync.md.",
    "tags": ["Joining"],
    "security": [{"certificate": []}],
    "responses": {
        "101": {"description": "The link is open."},
        "default": {
            "description": "What was wrong.",
            "content": {"application/json": {"schema": ref("Error")}},
        },
    },
}


def joining_paths() -> Document:
    """Return the paths, as the document has them."""
    resource: Document = {"name": "resource", "in": "path", "required": True, "schema": TEXT}
    fetched = {"parameters": [resource], "get": _fetch()}
    digest: Document = {"name": "digest", "in": "path", "required": True, "schema": TEXT}
    lines: Document = {"application/x-ndjson": {"schema": TEXT}}
    code: Document = {
        "summary": "Fetch code of a node's slice",
        "tags": ["Joining"],
        "security": [{"certificate": []}],
        "responses": _responses({"application/octet-stream": {"schema": TEXT}}),
    }
    follow = _post("Follow the slice of a node", "Known", "Taken", "node") | {"responses": _responses(lines)}
    return {
        "/v1/slice": {"post": follow},
        "/v1/slice/artifacts/{digest}": {"parameters": [digest], "get": code},
        "/v1/slice/statuses": {"post": _post("Tell what becomes of a slice", "Statuses", "Taken", "node")},
        "/v1/active": {"post": _post("Join as a node", "ActivationRequest", "Activated", "device")},
        "/v1/active/{resource}": fetched,
        "/v1/init/{resource}": fetched,
        "/v1/sync": {"get": _LINK},
        "/v1/sync/report": {"post": _post("Report, and be told what to change", "Report", "Delta", "node")},
        "/v1/sync/certificate": {"post": _renew()},
        "/v1/sync/desire": {"post": _post("Fetch what is to run", "Infos", "Values", "node")},
    }


def _post(summary: str, takes: str, answers: str, who: str) -> Document:
    return {
        "summary": summary,
        "tags": ["Joining"],
        "security": [{}] if who == "device" else [{"certificate": []}],
        "requestBody": {"required": True, "content": _json(ref(takes))},
        "responses": _responses({"application/json": {"schema": ref(answers)}}),
    }


def _renew() -> Document:
    return {
        "summary": "Have another certificate, in place of one that holds",
        "tags": ["Joining"],
        "security": [{"certificate": []}],
        "responses": _responses({"application/json": {"schema": ref("NodeCertificate")}}),
    }


def _fetch() -> Document:
    content: Document = {"application/octet-stream": {"schema": TEXT}, "application/json": {"schema": {}}}
    return {
        "summary": "Fetch what a device is installed from",
        "tags": ["Joining"],
        "security": [{}],
        "parameters": [_TOKEN],
        "responses": _responses(content),
    }


def _responses(content: Document) -> Document:
    return {
        "200": {"description": "Done.", "content": content},
        "default": {"description": "What was wrong.", "content": _json(ref("Error"))},
    }


def _json(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}
