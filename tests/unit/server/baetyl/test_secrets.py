"""Secrets, registries and certificates through the front door of fleets."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from skerry.api.baetyl_secrets import DATA_BYTES_MAX, TYPE_LABEL
from skerry.api.core_v1 import SECRET, Secret
from skerry.api.decoding import complete
from skerry.api.errors import Invalid
from skerry.api.model import ObjectMeta
from skerry.kit.clock import SystemClock
from skerry.server.baetyl.secrets import encoded
from skerry.server.tls import open_authority
from tests.unit.server.baetyl.conftest import Door

INVALID, NOT_FOUND, IN_USE = "ErrRequestParamInvalid", "ErrResourceNotFound", "ErrResourceHasBeenUsed"
HUB = {"name": "hub", "address": "hub.example", "username": "ada", "password": "the-password"}
SERVICE = {"name": "web", "image": "nginx"}


async def use(door: Door, **spec: Any) -> Any:
    return await door.ask("POST", "/v1/apps", {"name": "web", "selector": "site", "services": [SERVICE], **spec})


async def version(door: Door) -> int:
    return int((await door.ask("GET", "/v1/apps/web"))["version"])


async def test_a_secret_is_made_shown_changed_and_deleted(door: Door) -> None:
    made = await door.ask("POST", "/v1/secrets", {"name": "key", "data": {"a": "1"}, "description": "a key"})
    assert (made["data"], made["description"]) == ({"a": "1"}, "a key")
    assert await door.ask("GET", "/v1/secrets/key") == made
    stored = await door.client.get(Secret, "key", namespace="default")
    assert (stored.data, (stored.metadata.labels or {})["secret-type"]) == ({"a": "MQ=="}, "config")
    (item,) = (await door.ask("GET", "/v1/secrets"))["items"]
    assert "data" not in item
    same = await door.ask("PUT", "/v1/secrets/key", {"data": {"a": "1"}, "description": "a key"})
    assert same["version"] == made["version"]
    changed = await door.ask("PUT", "/v1/secrets/key", {"data": {"b": "2"}})
    assert (changed["data"], changed["description"]) == ({"b": "2"}, "")
    assert await door.ask("DELETE", "/v1/secrets/key") == {"success": True}
    assert (await door.refused("GET", "/v1/secrets/key", status=404))[0] == NOT_FOUND


async def test_kubectl_may_keep_no_more_in_a_secret_of_a_fleet_than_its_own_door(door: Door) -> None:
    def secret(name: str, size: int, labels: dict[str, str] | None) -> Secret:
        content = base64.b64encode(b"x" * size).decode()
        return Secret(metadata=ObjectMeta(name=name, namespace="default", labels=labels), data={"a": content})

    most, fleet = DATA_BYTES_MAX - len("a"), {TYPE_LABEL: "config"}
    await door.client.create(secret("most", most, fleet))
    await door.ask("PUT", "/v1/secrets/most", {"data": {"a": "y" * most}})
    with pytest.raises(Invalid, match="data: Too long: may not be more than 65536 bytes"):
        await door.client.create(secret("more", most + 1, fleet))
    await door.client.create(secret("other", most + 1, None))


async def test_a_changed_secret_reaches_applications_and_a_used_one_stays(door: Door) -> None:
    await door.ask("POST", "/v1/secrets", {"name": "key", "data": {"a": "1"}})
    await use(door, volumes=[{"name": "v", "secret": {"name": "key"}}])
    before = await version(door)
    changed = await door.ask("PUT", "/v1/secrets/key", {"data": {"a": "2"}})
    assert await version(door) == int(changed["version"]) > before
    assert [item["name"] for item in (await door.ask("GET", "/v1/secrets/key/apps"))["items"]] == ["web"]
    assert (await door.refused("DELETE", "/v1/secrets/key", status=403))[0] == IN_USE
    assert (await door.refused("POST", "/v1/secrets", {"name": "key", "data": {}}))[0] == INVALID


async def test_passwords_of_registries_never_come_back(door: Door) -> None:
    answers = [
        await door.ask("POST", "/v1/registries", {**HUB, "description": "ours"}),
        await door.ask("PUT", "/v1/registries/hub", {"description": "yours", "address": "elsewhere", "password": "x"}),
        await door.ask("POST", "/v1/registries/hub/refresh", {"password": "another-password"}),
        await door.ask("GET", "/v1/registries/hub"),
        await door.ask("GET", "/v1/registries"),
    ]
    assert not any("password" in str(answer) for answer in answers)
    assert (answers[1]["description"], answers[1]["address"]) == ("yours", "hub.example")
    assert (answers[3]["address"], answers[3]["username"]) == ("hub.example", "ada")
    assert answers[4]["items"][0]["username"] == "ada"


async def test_a_refreshed_password_reaches_applications(door: Door) -> None:
    await door.ask("POST", "/v1/registries", HUB)
    app = await use(door, registries=[{"name": "hub"}])
    assert app["registries"] == [{"name": "hub", "address": "hub.example", "username": "ada"}]
    before = await version(door)
    await door.ask("POST", "/v1/registries/hub/refresh", {"password": "new"})
    assert await version(door) > before
    assert [item["name"] for item in (await door.ask("GET", "/v1/registries/hub/apps"))["items"]] == ["web"]
    assert (await door.refused("DELETE", "/v1/registries/hub", status=403))[0] == IN_USE


async def test_types_of_secrets_do_not_see_each_other(door: Door) -> None:
    await door.ask("POST", "/v1/registries", HUB)
    await door.ask("POST", "/v1/secrets", {"name": "key", "data": {}})
    for path in ("/v1/secrets/hub", "/v1/registries/key", "/v1/certificates/key"):
        assert (await door.refused("GET", path, status=404))[0] == NOT_FOUND
        assert (await door.refused("DELETE", path, status=404))[0] == NOT_FOUND
    assert [item["name"] for item in (await door.ask("GET", "/v1/secrets"))["items"]] == ["key"]
    assert [item["name"] for item in (await door.ask("GET", "/v1/registries"))["items"]] == ["hub"]


def pem_of(key: Any) -> str:
    form = serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())


@pytest.fixture
def pair(tmp_path: Any) -> dict[str, str]:
    authority = open_authority(tmp_path, SystemClock())
    return {"key": (tmp_path / "ca.key").read_text(), "certificate": authority.pem.decode()}


async def test_a_certificate_tells_of_itself_and_keeps_its_key(door: Door, pair: dict[str, str]) -> None:
    made = await door.ask("POST", "/v1/certificates", {"name": "cert", "data": pair, "description": "ours"})
    assert made["data"] == {"certificate": pair["certificate"]}
    assert (made["issuer"] != "", ":" in made["fingerPrint"], made["serialNumber"].isdigit()) == (True, True, True)
    assert made["signatureAlgorithm"].startswith(("ECDSA-", "SHA", "Ed"))
    assert made["effectiveTime"] < made["expiredTime"]
    assert await door.ask("GET", "/v1/certificates/cert") == made
    assert len((await door.ask("GET", "/v1/certificates"))["items"]) == 1
    app = await use(door, volumes=[{"name": "v", "certificate": {"name": "cert"}}])
    assert app["volumes"] == [{"name": "v", "certificate": {"name": "cert"}}]
    assert [item["name"] for item in (await door.ask("GET", "/v1/certificates/cert/apps"))["items"]] == ["web"]
    assert (await door.refused("DELETE", "/v1/certificates/cert", status=403))[0] == IN_USE
    changed = await door.ask("PUT", "/v1/certificates/cert", {"data": pair})
    assert changed["description"] == ""
    await door.ask("DELETE", "/v1/apps/web")
    assert await door.ask("DELETE", "/v1/certificates/cert") == {"success": True}


def _stranger() -> str:
    return pem_of(ec.generate_private_key(ec.SECP256R1()))


async def test_what_is_no_pair_is_refused_by_both_doors_and_changes_nothing(door: Door, pair: dict[str, str]) -> None:
    stranger = _stranger()
    await door.ask("POST", "/v1/certificates", {"name": "cert", "data": pair})
    before = await door.client.get(Secret, "cert", namespace="default")
    for data, path in (
        ({}, "data[key]"),
        ({"key": pair["key"]}, "data[certificate]"),
        ({"key": pair["key"], "certificate": "y"}, "data[certificate]"),
        ({"key": "x", "certificate": pair["certificate"]}, "data[key]"),
        ({"key": stranger, "certificate": pair["certificate"]}, "data[key]"),
    ):
        for method, place in (("POST", "/v1/certificates"), ("PUT", "/v1/certificates/cert")):
            word, message = await door.refused(method, place, {"name": "other", "data": data})
            assert (word, path in message, stranger in message) == (INVALID, True, False)
        labels = {"secret-type": "certificate"}
        secret = Secret(metadata=ObjectMeta(name="other", namespace="default", labels=labels), data=encoded(data))
        with pytest.raises(Invalid) as refused:
            await door.client.create(secret)
        assert path in [cause["field"] for cause in refused.value.details["causes"]]
        assert stranger not in str(refused.value.status())
    assert await door.client.get(Secret, "cert", namespace="default") == before


def test_a_pair_that_was_stored_before_it_was_looked_at_can_lose_its_finalizers(pair: dict[str, str]) -> None:
    labels, data = {"secret-type": "certificate"}, encoded({**pair, "key": _stranger()})
    meta = ObjectMeta(name="cert", namespace="default", labels=labels)
    old = Secret(metadata=meta.model_copy(update={"finalizers": ["example.com/x"]}), data=data)
    complete(SECRET, Secret(metadata=meta, data=data), old)
    with pytest.raises(Invalid):
        complete(SECRET, Secret(metadata=meta, data=encoded({**pair, "key": _stranger()})), old)
