"""Tokens of service accounts: good until they end, or their account does; and what a TokenReview tells of them."""

import stat
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from skerry.api.core_service_account_v1 import SERVICE_ACCOUNT
from skerry.api.errors import ApiError, BadRequest, Invalid, NotFound
from skerry.kit.errors import StartError
from skerry.kit.ids import RandomIds
from skerry.server.auth import AUTHENTICATED, Credentials, StaticTokens, TokenRecord, User, digest_of
from skerry.server.kube.tokens import Tokens
from skerry.server.service_accounts import ISSUER, AccountTokens, open_signing_key
from skerry.server.verbs.requests import DeleteOptions, Target, WriteOptions
from skerry.server.verbs.verbs import Verbs
from skerry.testing.clock import START, FakeClock

CI = Target(SERVICE_ACCOUNT, "default", "ci")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def key(tmp_path: Path) -> ECKey:
    return open_signing_key(tmp_path / "sa.key")


@pytest.fixture
async def tokens(verbs: Verbs, clock: FakeClock, key: ECKey) -> Tokens:
    await make(verbs)
    accounts = AccountTokens(verbs, key, clock, RandomIds())
    static = StaticTokens([TokenRecord(digest_of("secret"), User("alice", uid="7", extra={"from": ("here",)}))])
    return Tokens(verbs, clock, accounts, (static, accounts))


async def make(verbs: Verbs, **metadata: Any) -> str:
    document = {"metadata": {"name": "ci", **metadata}}
    written = await verbs.create(Target(SERVICE_ACCOUNT, "default"), document, WriteOptions())
    return str(written.object.metadata["uid"])


async def token(tokens: Tokens, **spec: Any) -> str:
    document, _ = await tokens.request(CI, {"spec": spec})
    return str(document["status"]["token"])


async def who(tokens: Tokens, text: str) -> User | None:
    return await tokens.accounts.authenticate(Credentials(text))


async def review(tokens: Tokens, text: str, *audiences: str) -> Any:
    return (await tokens.review({"spec": {"token": text, "audiences": list(audiences)}}))["status"]


async def test_a_token_stands_for_its_account_with_the_claims_of_kubernetes(
    tokens: Tokens, verbs: Verbs, key: ECKey
) -> None:
    text = await token(tokens)
    uid = (await verbs.get(CI)).metadata["uid"]
    decoded, now = jwt.decode(text, key), int(START.timestamp())
    number = decoded.claims.pop("jti")
    assert decoded.header == {"typ": "JWT", "alg": "ES256", "kid": key.thumbprint()}
    assert decoded.claims == {
        "iss": ISSUER,
        "sub": "system:serviceaccount:default:ci",
        "aud": [ISSUER],
        "iat": now,
        "nbf": now,
        "exp": now + 3600,
        "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "ci", "uid": uid}},
    }
    groups = ("system:serviceaccounts", "system:serviceaccounts:default", AUTHENTICATED)
    extra = {"authentication.kubernetes.io/credential-id": (f"JTI={number}",)}
    assert await who(tokens, text) == User("system:serviceaccount:default:ci", uid, groups, extra)


async def test_a_token_ends_at_its_time(tokens: Tokens, clock: FakeClock) -> None:
    text = await token(tokens, expirationSeconds=600)
    clock.advance(599)
    assert await who(tokens, text) is not None
    clock.advance(1)
    assert await who(tokens, text) is None


async def test_a_token_is_void_once_its_account_is_deleted_and_stays_so_when_it_is_made_again(
    tokens: Tokens, verbs: Verbs
) -> None:
    text = await token(tokens)
    await verbs.delete(CI, DeleteOptions())
    assert await who(tokens, text) is None
    await make(verbs, finalizers=["example.com/mine"])
    assert await who(tokens, text) is None
    new = await token(tokens)
    assert await who(tokens, new) is not None
    await verbs.delete(CI, DeleteOptions())  # held back by its finalizer
    assert await who(tokens, new) is None


async def test_a_token_of_another_key_or_for_another_audience_stands_for_nobody(
    tokens: Tokens, verbs: Verbs, clock: FakeClock, tmp_path: Path
) -> None:
    strange = AccountTokens(verbs, open_signing_key(tmp_path / "other.key"), clock, RandomIds())
    metadata = (await verbs.get(CI)).metadata
    for text in (
        "",
        "a.b.c",
        "é.é.é",
        strange.issue(metadata, [ISSUER], 600),
        await token(tokens, audiences=["vault"]),
        (await token(tokens))[:-4] + "AAAA",
    ):
        assert await who(tokens, text) is None


async def test_a_token_holds_a_day_at_most_and_the_caller_is_told(tokens: Tokens) -> None:
    document, warnings = await tokens.request(CI, {"spec": {"expirationSeconds": 90000}})
    assert document["spec"]["expirationSeconds"] == 86400
    assert warnings == ("requested expiration of 90000 seconds shortened to 86400 seconds",)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"expirationSeconds": 599}, "spec.expirationSeconds"),
        ({"expirationSeconds": 1 << 33}, "spec.expirationSeconds"),
        ({"expirationSeconds": "1h"}, "spec.expirationSeconds"),
        ({"expirationSeconds": True}, "spec.expirationSeconds"),
        ({"audiences": "vault"}, "spec.audiences"),
        ({"audiences": ["a", 1]}, "spec.audiences[1]"),
        ({"audiences": ["x" * 254]}, "spec.audiences[0]"),
        ({"audiences": [str(number) for number in range(17)]}, "spec.audiences"),
    ],
)
async def test_what_is_no_sound_request_names_the_field(tokens: Tokens, spec: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as refused:
        await tokens.request(CI, {"spec": spec})
    assert [cause["field"] for cause in refused.value.details["causes"]] == [path]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"spec": []}, None),
        ({"spec": "x"}, BadRequest),
        ({"metadata": {"name": "other"}}, BadRequest),
        ({"metadata": {"namespace": "other"}}, BadRequest),
        ({"spec": {"boundObjectRef": {"kind": "Pod", "name": "p"}}}, BadRequest),
    ],
)
async def test_a_request_for_something_else_is_refused(
    tokens: Tokens, body: dict[str, Any], error: type[ApiError] | None
) -> None:
    if error is None:
        assert (await tokens.request(CI, body))[0]["status"]["token"]
        return
    with pytest.raises(error):
        await tokens.request(CI, body)


async def test_nobody_who_is_not_there_gets_a_token(tokens: Tokens) -> None:
    with pytest.raises(NotFound):
        await tokens.request(Target(SERVICE_ACCOUNT, "default", "nobody"), {})


async def test_a_review_knows_every_kind_of_token(tokens: Tokens) -> None:
    info = {"username": "alice", "uid": "7", "groups": [AUTHENTICATED], "extra": {"from": ["here"]}}
    assert await review(tokens, "secret") == {"authenticated": True, "user": info, "audiences": [ISSUER]}
    found = await review(tokens, await token(tokens))
    assert found["user"]["username"] == "system:serviceaccount:default:ci"
    unknown = await review(tokens, "guess")
    assert (unknown["authenticated"], unknown["user"]) == (False, {})
    assert unknown["error"]


async def test_a_review_tells_which_of_the_audiences_a_token_is_for(tokens: Tokens) -> None:
    text = await token(tokens, audiences=["vault", "registry"])
    assert (await review(tokens, text, "registry", "other"))["audiences"] == ["registry"]
    assert not (await review(tokens, text))["authenticated"]
    assert not (await review(tokens, "secret", "vault"))["authenticated"]


async def test_a_review_without_a_sound_token_is_refused(tokens: Tokens) -> None:
    with pytest.raises(BadRequest, match="token is required"):
        await tokens.review({})
    with pytest.raises(Invalid, match=r"spec\.token"):
        await tokens.review({"spec": {"token": 1}})


def test_the_key_is_made_once_for_its_owner_alone_and_a_damaged_one_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "pki" / "sa.key"
    made = open_signing_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_signing_key(path).thumbprint() == made.thumbprint()
    path.write_bytes(b"broken")
    with pytest.raises(StartError, match="restore it"):
        open_signing_key(path)
