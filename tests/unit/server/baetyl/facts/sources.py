"""The rows of what applications mount and use: configurations, secrets, registries, certificates; and of files."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.unit.server.baetyl.facts.rows import (
    DENIED,
    IN_USE,
    RESERVED,
    TOO_LARGE,
    Row,
    Step,
    absent,
    done,
    post,
    refused,
)

TEXT = {"key": "conf.yml", "value": {"type": "kv", "value": "a: 1"}}
CODE = {"type": "function", "function": "f", "version": "1", "runtime": "python36", "handler": "i.h", "source": "awss3"}
CONFIG = post("/v1/configs", {"name": "one", "data": [TEXT]})
SECRET = post("/v1/secrets", {"name": "one", "data": {"a": "1"}})
HUB = {"name": "one", "address": "hub.example", "username": "ada", "password": "the-password"}
REGISTRY = post("/v1/registries", HUB)
OF_SYSTEM = post("/v1/configs", {"name": "one", "labels": {"baetyl-cloud-system": "true"}})


def _pair() -> dict[str, str]:
    """Return a key and a certificate that it signed itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge")])
    unsigned = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + dt.timedelta(days=1))
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem = unsigned.sign(key, SHA256()).public_bytes(Encoding.PEM)
    return {"key": key.private_bytes(*form).decode(), "certificate": pem.decode()}


PAIR, OTHER_PAIR = _pair(), _pair()
CERTIFICATE = post("/v1/certificates", {"name": "one", "data": PAIR})

#: Items that a configuration does not have, and what is told of them.
_ITEMS: dict[str, tuple[Any, str]] = {
    "a text that is none": ({"key": "x", "value": {"type": "kv", "value": 7}}, "data"),
    "no key of a file": ({"key": "x/y", "value": {"type": "kv", "value": "t"}}, "data[x/y]"),
    "a key that is kept for objects": ({"key": "_object_x", "value": {"type": "kv", "value": "t"}}, "may not begin"),
    "an object without its source": ({"key": "x", "value": {"type": "object"}}, "source"),
    "an object without its bucket": (
        {"key": "x", "value": {"type": "object", "source": "awss3", "object": "o"}},
        "bucket",
    ),
    "an object without its url": ({"key": "x", "value": {"type": "object", "source": "http"}}, "url"),
    **{
        f"a function without its {member}": (
            {"key": "x", "value": {**{k: v for k, v in CODE.items() if k != member}, "bucket": "b", "object": "o"}},
            f"objects[x].{member}",
        )
        for member in ("function", "version", "runtime", "handler")
    },
    **{
        f"a function without its {member}": (
            {"key": "x", "value": {**CODE, "bucket": "b", "object": "o"} | {member: ""}},
            f"objects[x].{member}",
        )
        for member in ("bucket", "object")
    },
    "a value that is none": ({"key": "x", "value": "text"}, "data.0.value"),
    "no key": ({"value": {"type": "kv"}}, "data.0.key"),
}


def _using(part: str) -> Step:
    """Return the step that makes an application of what `part` names."""
    volume = {"configs": "config", "secrets": "secret", "certificates": "certificate"}.get(part)
    uses: dict[str, Any] = {"volumes": [{"name": "v", volume: {"name": "one"}}]} if volume else {}
    uses = uses or {"registries": [{"name": "one"}]}
    return post(
        "/v1/apps", {"name": "web", "selector": "site", "services": [{"name": "web", "image": "nginx"}], **uses}
    )


def _shared() -> Iterator[Row]:
    """Yield what holds for all four."""
    sorts = {
        "configs": ("config", CONFIG, {"data": [TEXT]}),
        "secrets": ("secret", SECRET, {"data": {"a": "2"}}),
        "registries": ("registry", REGISTRY, {"description": "ours"}),
        "certificates": ("certificate", CERTIFICATE, {"data": OTHER_PAIR}),
    }
    for part, (sort, made, change) in sorts.items():
        path = f"/v1/{part}"
        yield done("POST", path, made.body, name="one", version=..., createTime=...)
        yield refused("the name is taken", "POST", path, made.body, made, message="already in use")
        yield refused("a reserved name", "POST", path, {**made.body, "name": "my-baetyl"}, code=RESERVED)
        for name in ("", "One", "a" * 254 if part != "configs" else "a" * 64):
            wrong = {**made.body, "name": name}
            yield refused(f"{name[:8] or 'nothing'} is no name", "POST", path, wrong, message="name")
        yield done("GET", path, None, made, total=1)
        yield refused("no selector", "GET", f"{path}?selector=a in (")
        yield done("GET", f"{path}/one", None, made, name="one")
        yield done("PUT", f"{path}/one", change, made, name="one")
        yield done("DELETE", f"{path}/one", None, made, success=True)
        yield refused("it is used", "DELETE", f"{path}/one", None, made, _using(part), status=403, code=IN_USE)
        yield refused("a reserved name", "DELETE", f"{path}/my-baetyl", code=RESERVED)
        yield done("GET", f"{path}/one/apps", None, made, _using(part), total=1)
        for method, where, body in (
            ("GET", "", None),
            ("PUT", "", change),
            ("DELETE", "", None),
            ("GET", "/apps", None),
        ):
            yield absent(method, f"{path}/ghost{where}", sort, "ghost", body)


def _configs() -> Iterator[Row]:
    for fact, (item, message) in _ITEMS.items():
        yield refused(fact, "POST", "/v1/configs", {"name": "one", "data": [item]}, message=message)
        yield refused(fact, "PUT", "/v1/configs/one", {"data": [item]}, CONFIG, message=message)
    large = [{"key": "x", "value": {"type": "kv", "value": "x" * (3 << 20)}}]
    yield refused("too large", "POST", "/v1/configs", {"name": "one", "data": large}, code=TOO_LARGE)
    yield refused("too large", "PUT", "/v1/configs/one", {"data": large}, CONFIG, code=TOO_LARGE)
    yield refused("no object of storage", "PUT", "/v1/configs/one", {"data": "text"}, CONFIG, message="data")
    yield refused("labels of a system's", "PUT", "/v1/configs/one", {"labels": {}}, OF_SYSTEM, message="labels")


def _secrets() -> Iterator[Row]:
    large = {"a": "x" * 65_536}
    for method, path, given in (("POST", "/v1/secrets", ()), ("PUT", "/v1/secrets/one", (SECRET,))):
        yield refused("no data", method, path, {"name": "one"}, *given, message="data")
        yield refused("data that is no text", method, path, {"name": "one", "data": {"a": 1}}, *given, message="data.a")
        yield refused("no key of a file", method, path, {"name": "one", "data": {"a/b": "1"}}, *given, message="data")
        yield refused("too large", method, path, {"name": "one", "data": large}, *given, code=TOO_LARGE)
    for wanted, other in (
        ("secrets", REGISTRY),
        ("registries", SECRET),
        ("certificates", SECRET),
        ("secrets", CERTIFICATE),
    ):
        sort = {"secrets": "secret", "registries": "registry", "certificates": "certificate"}[wanted]
        for method in ("GET", "DELETE"):
            row = absent(method, f"/v1/{wanted}/one", sort, "one", None, other)
            yield refused(f"{other.path} are none", row.method, row.path, None, other, status=404, code=row.code)


def _registries() -> Iterator[Row]:
    for member in ("address", "username", "password"):
        body = {name: value for name, value in HUB.items() if name != member}
        yield refused(f"no {member}", "POST", "/v1/registries", body, message=member)
    yield done("POST", "/v1/registries/one/refresh", {"password": "new"}, REGISTRY, name="one", username="ada")
    yield refused("no password", "POST", "/v1/registries/one/refresh", {}, REGISTRY, message="password")
    yield absent("POST", "/v1/registries/ghost/refresh", "registry", "ghost", {"password": "new"})


def _certificates() -> Iterator[Row]:
    wrong: dict[str, Any] = {
        "nothing": {},
        "no certificate": {"key": PAIR["key"]},
        "no PEM": {"key": "x", "certificate": "y"},
        "another's key": {**PAIR, "key": OTHER_PAIR["key"]},
    }
    for fact, data in wrong.items():
        yield refused(fact, "POST", "/v1/certificates", {"name": "one", "data": data}, message="data")
        yield refused(fact, "PUT", "/v1/certificates/one", {"data": data}, CERTIFICATE, message="data")


def _files() -> Iterator[Row]:
    yield done("POST", "/v1/objects", b"content", source=..., object=..., md5=...)
    yield refused("no role", "POST", "/v1/objects", b"content", status=403, code=DENIED, by="nobody")


ROWS = (*_shared(), *_configs(), *_secrets(), *_registries(), *_certificates(), *_files())
