"""Tokens that are objects: good until they end, are deleted, or are not what was made."""

import datetime as dt
from typing import Any

import pytest

from skerry.api.authentication_v1alpha1 import TOKEN, token_sha256, token_text
from skerry.api.errors import Invalid
from skerry.kit.clock import rfc3339
from skerry.server.auth import AUTHENTICATED, Credentials, User
from skerry.server.tokens import StoredTokens
from skerry.server.verbs.requests import DeleteOptions, Target, WriteOptions
from skerry.server.verbs.verbs import Verbs
from skerry.testing.clock import START, FakeClock

SECRET = "x" * 43
TEXT = token_text("t1", SECRET)
ANYHOW = WriteOptions()


def document(name: str = "t1", **spec: Any) -> dict[str, Any]:
    ends = rfc3339(START + dt.timedelta(hours=1))
    wanted = {"username": "alice", "groups": ["dev"], "expirationTimestamp": ends, "sha256": token_sha256(TEXT)}
    return {"metadata": {"name": name}, "spec": {**wanted, **spec}}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def tokens(verbs: Verbs, clock: FakeClock) -> StoredTokens:
    await verbs.create(Target(TOKEN), document(), ANYHOW)
    return StoredTokens(verbs, clock)


async def test_a_token_stands_for_its_user(tokens: StoredTokens) -> None:
    found = await tokens.authenticate(Credentials(TEXT))
    extra = {"authentication.kubernetes.io/credential-id": ("TOKEN=t1",)}
    assert found == User("alice", groups=("dev", AUTHENTICATED), extra=extra)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "admin",
        token_text("t1", "y" * 43),
        token_text("other", SECRET),
        token_text("t1", SECRET + "x"),
        token_text("T1", SECRET),
        token_text("t1", SECRET) + "\n",
        f"skerry_{'a' * 300}_{SECRET}",
    ],
)
async def test_any_other_text_stands_for_nobody(tokens: StoredTokens, text: str) -> None:
    assert await tokens.authenticate(Credentials(text)) is None


async def test_a_token_ends_at_its_time(tokens: StoredTokens, clock: FakeClock) -> None:
    clock.advance(3599)
    assert await tokens.authenticate(Credentials(TEXT)) is not None
    clock.advance(1)
    assert await tokens.authenticate(Credentials(TEXT)) is None


async def test_a_deleted_token_is_void_at_once(tokens: StoredTokens, verbs: Verbs) -> None:
    await verbs.delete(Target(TOKEN, name="t1"), DeleteOptions())
    assert await tokens.authenticate(Credentials(TEXT)) is None


async def test_a_token_whose_deletion_is_held_back_is_void_too(verbs: Verbs, clock: FakeClock) -> None:
    held = document()
    held["metadata"]["finalizers"] = ["example.com/mine"]
    await verbs.create(Target(TOKEN), held, ANYHOW)
    tokens = StoredTokens(verbs, clock)
    assert await tokens.authenticate(Credentials(TEXT)) is not None
    await verbs.delete(Target(TOKEN, name="t1"), DeleteOptions())
    assert await tokens.authenticate(Credentials(TEXT)) is None


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"username": ""}, "spec.username"),
        ({"groups": ["g"] * 65}, "spec.groups"),
        ({"groups": [""]}, "spec.groups[0]"),
        ({"expirationTimestamp": "tomorrow"}, "spec.expirationTimestamp"),
        ({"sha256": "secret"}, "spec.sha256"),
    ],
)
async def test_what_is_no_sound_token_is_refused(verbs: Verbs, spec: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as refused:
        await verbs.create(Target(TOKEN), document(**spec), ANYHOW)
    assert [cause["field"] for cause in refused.value.details["causes"]] == [path]


async def test_a_token_can_not_be_turned_into_another_one(tokens: StoredTokens, verbs: Verbs) -> None:
    changed = (await verbs.get(Target(TOKEN, name="t1"))).fresh_document()
    changed["spec"]["groups"] = ["system:masters"]
    with pytest.raises(Invalid, match="spec: Forbidden: field is immutable"):
        await verbs.replace(Target(TOKEN, name="t1"), changed, ANYHOW)
    found = await tokens.authenticate(Credentials(TEXT))
    assert found is not None
    assert "system:masters" not in found.groups
