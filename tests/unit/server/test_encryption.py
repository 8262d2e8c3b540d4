"""`/encryption`: who may, what is told, what a rotation answers."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.api.registry import KINDS
from skerry.api.secret_fields import confidential_resources
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.server.app import App, Guards
from skerry.server.auth import ADMINISTRATORS, StaticTokens, TokenRecord, User, digest_of
from skerry.server.authorization.authorization import Authorization
from skerry.server.encryption import EncryptionDoor
from skerry.server.health import Health
from skerry.server.kube.door import KubeDoor, KubeSettings
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import open_log
from skerry.store.memory import MemoryDriver
from skerry.store.records import Key, Rewrite, Write
from skerry.store.sealing.keys import KEYS_MAX, LocalKeys
from skerry.store.sealing.sealed import Sealed, open_sealed

SECRETS = "/api/v1/namespaces/default/secrets"
MANIFEST = {"metadata": {"name": "db"}, "stringData": {"password": "c4n4ry"}}


@pytest.fixture
def database() -> MemoryDriver:
    return MemoryDriver()


@pytest.fixture
async def sealed(database: MemoryDriver, tmp_path: Path) -> Sealed:
    keys = LocalKeys(tmp_path / "keys.json", SystemClock())
    return await open_sealed(database, keys, confidential_resources(KINDS).__contains__)


@pytest.fixture
async def http(sealed: Sealed) -> AsyncIterator[httpx.AsyncClient]:
    """The administrator's client."""
    users = {"admin": User("admin", groups=(ADMINISTRATORS,)), "user": User("alice")}
    tokens = StaticTokens([TokenRecord(digest_of(token), user) for token, user in users.items()])
    access, clock = Authorization(), SystemClock()
    async with open_log(sealed.driver) as log:
        verbs = Verbs(log, KINDS, clock, RandomIds(), access)
        await verbs.bootstrap()
        doors = KubeDoor(verbs, KubeSettings(access, clock)), EncryptionDoor(sealed.resealer, access)
        transport: Any = httpx.ASGITransport(app=App(doors, Guards((tokens,), access), Health([]), clock))
        headers = {"authorization": "Bearer admin"}
        async with httpx.AsyncClient(transport=transport, base_url="https://skerry", headers=headers) as client:
            yield client


async def test_keys_are_told_with_what_each_seals_and_without_their_bytes(http: httpx.AsyncClient, tmp_path: Path):
    await http.post(SECRETS, json=MANIFEST)
    answer = await http.get("/encryption")
    assert answer.status_code == 200
    [key] = answer.json()["keys"]
    assert key["id"].startswith("local:")
    assert (key["state"], key["objects"], key["values"]) == ("newest", 1, 1)
    assert answer.json()["plain"] == {"objects": 0, "values": 0}
    assert answer.json()["undecryptable"] == {"values": 0, "messages": []}
    assert LocalKeys(tmp_path / "keys.json", SystemClock()).known_keys()[0].created == key["created"]
    assert set(key) == {"id", "created", "state", "objects", "values"}


async def test_a_rotation_is_begun_at_once_and_ends_in_the_background(http: httpx.AsyncClient, sealed: Sealed):
    await http.post(SECRETS, json=MANIFEST)
    before = (await http.get(f"{SECRETS}/db")).content
    answer = await http.post("/encryption/rotate")
    assert answer.status_code == 202
    keys = (await http.get("/encryption")).json()["keys"]
    assert [(key["state"], key["objects"]) for key in keys] == [("older", 1), ("newest", 0)]
    await sealed.resealer.turn()
    [key] = (await http.get("/encryption")).json()["keys"]
    assert (key["id"], key["objects"]) == (answer.json()["key"], 1)
    assert (await http.get(f"{SECRETS}/db")).content == before


@pytest.mark.parametrize(("method", "path"), [("GET", "/encryption"), ("POST", "/encryption/rotate")])
async def test_administrators_alone_may(http: httpx.AsyncClient, sealed: Sealed, method: str, path: str):
    for authorization, code in (("", 401), ("Bearer user", 403)):
        answer = await http.request(method, path, headers={"authorization": authorization})
        assert answer.status_code == code
    assert len(sealed.resealer.known_keys()) == 1


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("POST", "/encryption", 405), ("GET", "/encryption/rotate", 405), ("GET", "/encryption/keys", 404)],
)
async def test_other_methods_and_paths_are_refused(http: httpx.AsyncClient, method: str, path: str, code: int):
    assert (await http.request(method, path)).status_code == code


async def test_too_many_keys_are_a_conflict(http: httpx.AsyncClient):
    codes = [(await http.post("/encryption/rotate")).status_code for _ in range(KEYS_MAX)]
    assert codes == [202] * (KEYS_MAX - 1) + [409]


async def test_a_watch_that_meets_a_damaged_object_ends_with_its_name(http: httpx.AsyncClient, database: MemoryDriver):
    listed = (await http.get(SECRETS)).json()["metadata"]["resourceVersion"]
    await database.append(Write(Key("secrets", "default", "db"), b"\0 no sealed value", 0))
    query = {"watch": "true", "resourceVersion": listed, "timeoutSeconds": "10"}
    answer = await http.get(SECRETS, params=query)
    event = json.loads(answer.text.splitlines()[-1])
    assert event["type"] == "ERROR"
    assert event["object"]["message"].startswith("secrets default/db can't be decrypted")


async def test_a_damaged_object_is_named_in_its_error_and_others_are_read(
    http: httpx.AsyncClient, database: MemoryDriver
):
    await http.post(SECRETS, json=MANIFEST)
    await http.post(SECRETS, json={**MANIFEST, "metadata": {"name": "well"}})
    held = next(one for one in await database.values_after(0, limit=100) if one.key.name == "db")
    await database.rewrite([Rewrite(held, held.value[:-1])])
    wanted = "secrets default/db can't be decrypted: it is damaged, or was moved here from another object"
    for path in (f"{SECRETS}/db", SECRETS, "/api/v1/secrets"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["message"]) == (500, wanted)
    assert (await http.get(f"{SECRETS}/well")).status_code == 200
    assert (await http.get("/api/v1/namespaces")).status_code == 200
    assert (await http.get("/encryption")).json()["undecryptable"] == {"values": 1, "messages": [wanted]}
