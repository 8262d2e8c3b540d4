"""Tokens and policies in a real Envoy: what requests meet, and in which order."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from skerry.testing.plugins import built

pytestmark = pytest.mark.system

ISSUER = "https://issuer.test/realm"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: skerry}
spec: {controllerName: skerry.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: default, labels: {skerry.dev/default-functions: "true"}}
spec:
  gatewayClassName: skerry
  listeners: [{name: http, port: PORT, protocol: HTTP}]
---
apiVersion: extensions.apoxy.dev/v1alpha2
kind: EdgeFunction
metadata: {name: f}
spec:
  template: {mode: backend, code: {wasmSource: {url: "https://a.test/f.wasm"}}}
status: {liveRevision: f-1}
"""


def encoded(data: bytes | dict[str, Any] | int) -> str:
    if isinstance(data, int):
        data = data.to_bytes((data.bit_length() + 7) // 8, "big")
    raw = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwks() -> str:
    """Write the public keys; what is inline and what a server answers."""
    r, e = RSA_KEY.public_key().public_numbers(), EC_KEY.public_key().public_numbers()
    point = {"x": encoded(e.x.to_bytes(32, "big")), "y": encoded(e.y.to_bytes(32, "big"))}
    keys: list[dict[str, str]] = [
        {"kty": "RSA", "alg": "RS256", "kid": "r", "n": encoded(r.n), "e": encoded(r.e)},
        {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "e", **point},
    ]
    return json.dumps({"keys": keys})


def token(algorithm: str = "RS256", **claims: Any) -> str:
    """Sign claims; those that a good token has are there unless they are given."""
    payload = {"iss": ISSUER, "sub": "ada", "aud": ["shop"], "exp": int(time.time()) + 3600, **claims}
    header = {"typ": "JWT", "alg": algorithm, "kid": "r" if algorithm == "RS256" else "e"}
    signed = f"{encoded(header)}.{encoded(payload)}"
    if algorithm == "RS256":
        signature = RSA_KEY.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(EC_KEY.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{signed}.{encoded(signature)}"


def document(kind: str, name: str, **spec: Any) -> str:
    version = "extensions.istio.io/v1alpha1" if kind == "WasmPlugin" else "security.istio.io/v1"
    whole = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    return "\n---\n" + json.dumps(whole)


def tokens(**rule: Any) -> str:
    keys = {} if "jwksUri" in rule else {"jwks": jwks()}
    return document(
        "RequestAuthentication", "tokens", jwtRules=[{"issuer": ISSUER, "audiences": ["shop"], **keys, **rule}]
    )


def policy(name: str, action: str, *rules: dict[str, Any]) -> str:
    return document("AuthorizationPolicy", name, action=action, rules=list(rules))


def plugin(module: Path, phase: str) -> str:
    config = {"append": phase, "header": phase} if phase == "AUTHN" else {"append": phase}
    return document(
        "WasmPlugin",
        phase.lower().replace("_", "-"),
        url=f"file://{module}",
        pluginName="probe",
        pluginConfig=config,
        phase=phase,
    )


async def ask(edge: Any, path: str = "", bearer: str = "", **more: Any) -> httpx.Response:
    headers = {"connection": "close", **more.pop("headers", {})}
    if bearer:
        headers["authorization"] = f"Bearer {bearer}"
    response: httpx.Response = await edge.get(f"f.functions.localhost/{path}", headers=headers, **more)
    return response


async def test_good_tokens_are_taken_bad_ones_refused_and_missing_ones_pass(edge_with: Any, engine_with: Any) -> None:
    text = GATEWAY + tokens(outputClaimToHeaders=[{"header": "x-user", "claim": "sub"}])
    async with engine_with() as (_, node), edge_with(text, node) as edge:
        assert edge.xds.rejections() == ()
        for algorithm in ("RS256", "ES256"):
            taken = await ask(edge, bearer=token(algorithm), headers={"x-user": "root"})
            assert taken.status_code == 200
            assert taken.json()["headers"]["x-user"] == "ada", "from the token, not from the client"
            assert "authorization" not in taken.json()["headers"], "the token is not handed on"
        for bad in (
            token(iss="https://other.test"),
            token(exp=1),
            token()[:-8] + "AAAAAAAA",
            "x.y.z",
        ):
            assert (await ask(edge, bearer=bad)).status_code == 401
        assert (await ask(edge, bearer=token(aud="another"))).status_code == 403, "a good token, but not for us"
        missing = await ask(edge, headers={"x-user": "root"})
        assert missing.status_code == 200
        assert "x-user" not in missing.json()["headers"], "nobody gives themself a claim"


async def test_keys_are_fetched_from_a_server(edge_with: Any, engine_with: Any, new_upstream: Any) -> None:
    server = new_upstream("keys")

    async def answer(_: Any) -> tuple[int, str]:
        return 200, jwks()

    server.answer = answer
    port = await server.listen_tcp()
    text = GATEWAY + tokens(jwksUri=f"http://127.0.0.1:{port}/keys")
    async with engine_with() as (_, node), edge_with(text, node) as edge:
        assert (await ask(edge, bearer=token())).status_code == 200
        assert (await ask(edge, bearer=token(exp=1))).status_code == 401
        assert {request.path for request in server.requests} == {"/keys"}
    server.kill()


async def test_policies_read_tokens_and_deny_comes_before_allow(edge_with: Any, engine_with: Any) -> None:
    principal = {"from": [{"source": {"requestPrincipals": [f"{ISSUER}/*"]}}]}
    admins = {
        "to": [{"operation": {"paths": ["/admin", "/admin/*"]}}],
        "when": [{"key": "request.auth.claims[groups]", "notValues": ["admins"]}],
    }
    elsewhere = {"to": [{"operation": {"hosts": ["closed.test"]}}]}
    text = GATEWAY + tokens() + policy("a", "ALLOW", principal) + policy("d", "DENY", admins, elsewhere)
    async with engine_with() as (_, node), edge_with(text, node) as edge:
        assert edge.xds.rejections() == ()
        missing = await ask(edge)
        assert (missing.status_code, missing.text) == (403, "RBAC: access denied")
        assert (await ask(edge, bearer=token())).status_code == 200
        assert (await ask(edge, bearer="x.y.z")).status_code == 401
        for path in ("admin", "admin/x", "a/../admin", "%61dmin", "admin?x=1"):
            assert (await ask(edge, path, token(groups=["users"]))).status_code == 403
            assert (await ask(edge, path, token(groups=["users", "admins"]))).status_code == 200
        assert (await ask(edge, "admin", token(groups="admins"))).status_code == 200, "a claim that is one text"
        for host in ("closed.test", "CLOSED.test:81"):
            denied = await edge.get(f"{host}/", headers={"connection": "close", "authorization": f"Bearer {token()}"})
            assert denied.status_code == 403


async def test_an_allow_policy_without_rules_denies_and_audit_only_notes(
    edge_with: Any, engine_with: Any, until: Any
) -> None:
    noted = policy("noted", "AUDIT", {"to": [{"operation": {"methods": ["GET"]}}]})
    async with engine_with() as (_, node), edge_with(GATEWAY + noted, node) as edge:
        assert (await ask(edge)).status_code == 200
        log = edge.settings.access_log
        await until(lambda: log.exists() and '"audit_policy":"default/noted/rule/0"' in log.read_text())
        await edge.apply(GATEWAY + policy("none", "ALLOW"))

        async def is_denied() -> bool:
            return (await ask(edge)).status_code == 403

        await until(is_denied)


async def test_plugins_stand_around_tokens_and_policies(
    edge_with: Any, engine_with: Any, request: pytest.FixtureRequest
) -> None:
    probe = built(request.config.rootpath, "probe")
    phases = ("AUTHN", "AUTHZ", "STATS", "UNSPECIFIED_PHASE")
    denied = policy("d", "DENY", {"to": [{"operation": {"paths": ["/denied"]}}]})
    # Each plugin appends its phase to what it is asked with; a policy on that shows which ran before it.
    before = {"key": "request.headers[x-chain]"}
    seen = policy("a", "ALLOW", {"when": [{**before, "values": ["AUTHN,AUTHZ"]}]})
    text = GATEWAY + tokens() + denied + seen + "".join(plugin(probe, phase) for phase in phases)
    async with engine_with() as (workers, node), edge_with(text, node) as edge:
        assert edge.xds.rejections() == ()
        taken = await ask(edge, bearer=token())
        assert taken.status_code == 200, "the policies see what AUTHN and AUTHZ appended, and no more"
        assert taken.json()["headers"]["x-chain"] == ",".join(phases)
        assert (await ask(edge, "denied", token())).status_code == 403
        asked = len(workers[0].requests)
        refused = await ask(edge, bearer="x.y.z")
        assert refused.status_code == 401
        assert len(workers[0].requests) == asked
    # A token that only an AUTHN plugin could have put there, and that only then is refused: it runs before.
    spoiled = tokens(fromHeaders=[{"name": "x-chain"}])
    for phase, status in (("AUTHN", 401), ("AUTHZ", 200)):
        async with engine_with() as (_, node), edge_with(GATEWAY + spoiled + plugin(probe, phase), node) as edge:
            assert (await ask(edge)).status_code == status
