"""Tokens of an OpenID issuer that runs on loopback: which stand for whom, which for nobody, and what is asked of it."""

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from structlog.testing import capture_logs

from skerry.kit.errors import ConfigurationError
from skerry.server import issuer_keys
from skerry.server.auth import AUTHENTICATED, Credentials, User
from skerry.server.issuer_keys import DOCUMENT_BYTES_MAX, PAUSE_SECONDS, IssuerKeys
from skerry.server.oidc import OidcSettings, OidcTokens
from skerry.testing.clock import FakeClock, LoopClock
from skerry.testing.oidc_issuer import CLIENT_ID, OidcIssuer, oidc_issuer, rsa_key
from skerry.testing.scripted_server import endless, hang, reply, reset
from skerry.testing.waiting import SECONDS_MAX

ALICE = User("alice", groups=(AUTHENTICATED,))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def issuer(clock: FakeClock) -> AsyncIterator[OidcIssuer]:
    async with oidc_issuer(clock) as running:
        yield running


@pytest.fixture
async def keys(issuer: OidcIssuer, clock: FakeClock) -> AsyncIterator[IssuerKeys]:
    async with IssuerKeys(issuer.url, None, clock).running() as running:
        yield running


@pytest.fixture
def tokens(issuer: OidcIssuer, keys: IssuerKeys, clock: FakeClock) -> OidcTokens:
    return OidcTokens(OidcSettings(issuer.url, CLIENT_ID, oidc_username_prefix="-"), keys, clock)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
async def test_a_token_of_the_issuer_stands_for_its_user(
    tokens: OidcTokens, issuer: OidcIssuer, algorithm: str
) -> None:
    key = ECKey.generate_key("P-256", {"kid": "ec"}) if algorithm == "ES256" else issuer.key
    issuer.publish(rsa_key("other"), key)
    token = issuer.token(algorithm, key, aud=["other", CLIENT_ID], jti="7")
    found = await tokens.authenticate(Credentials(token))
    extra = {"authentication.kubernetes.io/credential-id": ("JTI=7",)}
    assert found == User("alice", groups=(AUTHENTICATED,), extra=extra)


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


CLAIMS: list[dict[str, Any]] = [
    {"aud": "other"},
    {"aud": None},
    {"aud": []},
    {"exp": None},
    {"exp": 0},
    {"exp": "tomorrow"},
    {"exp": float("nan")},
    {"nbf": 2**40},
    {"iat": 2**40},
    {"iss": "https://elsewhere"},
    {"iss": None},
    {"sub": None},
    {"sub": ""},
    {"sub": 7},
    {"sub": "a\nb"},
    {"sub": "a" * 257},
    {"sub": "system:admin"},
]


@pytest.mark.parametrize("claims", CLAIMS)
async def test_claims_that_are_not_right_stand_for_nobody(
    tokens: OidcTokens, issuer: OidcIssuer, claims: dict[str, Any]
) -> None:
    assert await tokens.authenticate(Credentials(issuer.token(**claims))) is None


async def test_a_token_is_good_within_its_time_only(tokens: OidcTokens, issuer: OidcIssuer, clock: FakeClock) -> None:
    now = int(clock.now().timestamp())
    shown = Credentials(issuer.token(nbf=now + 60, exp=now + 120))
    assert await tokens.authenticate(shown) is None
    clock.advance(60)
    assert await tokens.authenticate(shown) == ALICE
    clock.advance(71)
    assert await tokens.authenticate(shown) is None


async def test_a_signature_that_is_not_the_issuers_stands_for_nobody(tokens: OidcTokens, issuer: OidcIssuer) -> None:
    good = issuer.token()
    head, body, signature = good.split(".")
    admin = issuer.token(sub="admin").split(".")[1]
    none = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    hs256 = segment(b'{"alg":"HS256","kid":"first"}') + "." + body
    mac = segment(hmac.digest(issuer.key.as_pem(private=False), hs256.encode(), "sha256"))
    forged = [
        issuer.token(key=rsa_key("first")),
        f"{hs256}.{mac}",
        issuer.token("RS512"),
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{head}.{admin}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature}.{signature}",
        f"{head}.{body}",
        f".{body}.{signature}",
        f"{head}.{'W1tb' * 1500}.{signature}",
        "a.b.c",
        "..",
        "",
    ]
    assert [await tokens.authenticate(Credentials(token)) for token in forged] == [None] * len(forged)
    assert await tokens.authenticate(Credentials(good)) == ALICE


async def test_rotated_keys_are_found_and_withdrawn_ones_end(
    tokens: OidcTokens, issuer: OidcIssuer, clock: FakeClock
) -> None:
    old = issuer.token()
    assert await tokens.authenticate(Credentials(old)) == ALICE
    issuer.key = rsa_key("second")
    issuer.publish(issuer.key)
    assert await tokens.authenticate(Credentials(issuer.token())) is None  # within the pause
    clock.advance(PAUSE_SECONDS)
    assert await tokens.authenticate(Credentials(issuer.token())) == ALICE
    assert await tokens.authenticate(Credentials(old)) is None


async def test_made_up_key_ids_ask_the_issuer_once_in_a_pause(
    tokens: OidcTokens, issuer: OidcIssuer, clock: FakeClock
) -> None:
    assert await tokens.authenticate(Credentials(issuer.token())) == ALICE
    key = rsa_key("made up")
    for number in range(20):
        assert await tokens.authenticate(Credentials(issuer.token(key=key, jti=str(number)))) is None
    assert issuer.fetches() == 1
    clock.advance(PAUSE_SECONDS)
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(tokens.authenticate(Credentials(issuer.token(key=key, jti=str(number)))))
    assert issuer.fetches() == 2


HUGE = b'{"keys":[' + b" " * DOCUMENT_BYTES_MAX + b"]}"


@pytest.mark.parametrize(
    "script",
    [
        reply(503),
        reply(302, location="http://127.0.0.1:1/"),
        reply(200, b"<html>"),
        reply(200, b"[]"),
        reply(200, b'{"keys":[]}'),
        reply(200, b'{"keys":[{"kty":"RSA","kid":"first","n":"!"}]}'),
        reply(200, b'{"keys":[' + b",".join([b"{}"] * 101) + b"]}"),
        reply(200, HUGE),
        endless(),
        reset(),
    ],
    ids=["503", "redirect", "no JSON", "no object", "no keys", "no good key", "too many", "huge", "endless", "reset"],
)
async def test_an_issuer_that_is_away_lets_nobody_in_and_keeps_what_was_known(
    tokens: OidcTokens, issuer: OidcIssuer, clock: FakeClock, script: Any
) -> None:
    assert await tokens.authenticate(Credentials(issuer.token())) == ALICE
    issuer.answer_keys(script)
    clock.advance(PAUSE_SECONDS)
    assert await tokens.authenticate(Credentials(issuer.token(key=rsa_key("new")))) is None
    assert issuer.fetches() == 2
    assert await tokens.authenticate(Credentials(issuer.token())) == ALICE


async def test_an_issuer_that_comes_back_is_found(tokens: OidcTokens, issuer: OidcIssuer, clock: FakeClock) -> None:
    issuer.answer_keys(reset())
    assert await tokens.authenticate(Credentials(issuer.token())) is None
    issuer.publish(issuer.key)
    assert await tokens.authenticate(Credentials(issuer.token())) is None
    clock.advance(PAUSE_SECONDS)
    assert await tokens.authenticate(Credentials(issuer.token())) == ALICE


async def test_a_discovery_document_of_another_issuer_is_not_believed(tokens: OidcTokens, issuer: OidcIssuer) -> None:
    document = f'{{"issuer":"https://elsewhere","jwks_uri":"{issuer.url}/keys"}}'
    issuer.server.scripts[issuer_keys.DISCOVERY_PATH] = [reply(200, document.encode())]
    assert await tokens.authenticate(Credentials(issuer.token())) is None
    assert "/keys" not in issuer.server.paths()


async def test_a_slow_issuer_holds_up_only_who_needs_it(
    tokens: OidcTokens, issuer: OidcIssuer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await tokens.authenticate(Credentials(issuer.token())) == ALICE
    issuer.answer_keys(hang())
    clock.advance(PAUSE_SECONDS)
    loop_clock = LoopClock()
    monkeypatch.setattr(issuer_keys, "FETCH_SECONDS", SECONDS_MAX)
    monkeypatch.setattr(issuer_keys, "WAITING_MAX", 1)
    waiting = issuer.token(key=rsa_key("new"))
    issuer.server.asked.clear()
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(tokens.authenticate(Credentials(waiting)))
        await issuer.server.asked.wait()
        assert await tokens.authenticate(Credentials(issuer.token())) == ALICE
        assert await tokens.authenticate(Credentials(waiting)) is None  # one waits already
        assert not slow.done()
        loop_clock.advance(SECONDS_MAX)
    assert slow.result() is None


async def test_tokens_of_others_are_none_of_its_business(tokens: OidcTokens, issuer: OidcIssuer) -> None:
    assert await tokens.authenticate(Credentials(issuer.token())) == ALICE
    await tokens.authenticate(Credentials(issuer.token(iss="https://elsewhere", key=rsa_key("new"))))
    assert issuer.fetches() == 1


EMAIL: dict[str, Any] = {"oidc_username_claim": "email", "oidc_username_prefix": ""}
GROUPS = {"oidc_groups_claim": "roles", "oidc_groups_prefix": "sso:"}


@pytest.mark.parametrize(
    ("settings", "claims", "name", "groups"),
    [
        ({"oidc_username_prefix": ""}, {}, "URL#alice", ()),
        ({"oidc_username_prefix": "sso:"}, {}, "sso:alice", ()),
        (EMAIL, {"email": "a@b.c", "email_verified": True}, "a@b.c", ()),
        (EMAIL, {"email": "a@b.c", "email_verified": False}, "", ()),
        (EMAIL, {"email": "a@b.c", "email_verified": "true"}, "", ()),
        (EMAIL, {"email": "a@b.c"}, "", ()),
        (GROUPS, {"roles": ["dev", "ops"]}, "alice", ("sso:dev", "sso:ops")),
        (GROUPS, {"roles": "dev"}, "alice", ("sso:dev",)),
        (GROUPS, {}, "alice", ()),
        (GROUPS, {"roles": [7]}, "", ()),
        ({"oidc_groups_claim": "roles"}, {"roles": ["dev", "system:masters"]}, "", ()),
        ({"oidc_required_claims": ("hd=b.c",)}, {"hd": "b.c"}, "alice", ()),
        ({"oidc_required_claims": ("hd=b.c",)}, {"hd": "d.e"}, "", ()),
        ({"oidc_required_claims": ("hd=b.c",)}, {}, "", ()),
    ],
)
async def test_claims_become_names(
    tokens: OidcTokens, issuer: OidcIssuer, settings: Any, claims: Any, name: str, groups: tuple[str, ...]
) -> None:
    named = replace(tokens, settings=replace(tokens.settings, **settings))
    found = await named.authenticate(Credentials(issuer.token(**claims)))
    expected = User(name.replace("URL", issuer.url), groups=(*groups, AUTHENTICATED)) if name else None
    assert found == expected


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({}, "there is no claim email"),
        ({"email": 7}, "the claim email is no text"),
        ({"email": "a@b.c"}, "the claim email_verified is not true"),
    ],
)
async def test_what_is_wrong_with_a_claim_is_told_in_the_log(
    tokens: OidcTokens, issuer: OidcIssuer, claims: Any, reason: str
) -> None:
    named = replace(tokens, settings=replace(tokens.settings, **EMAIL))
    with capture_logs() as told:
        await named.authenticate(Credentials(issuer.token(**claims)))
    assert [each["reason"] for each in told] == [reason]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"oidc_issuer_url": ""}, "oidc_issuer_url: must be set"),
        ({"oidc_issuer_url": "http://a.b"}, "oidc_issuer_url: must start with https://"),
        ({"oidc_issuer_url": "https://a.b?c"}, "oidc_issuer_url: must be a URL of a host and a path only"),
        ({"oidc_issuer_url": "https://[a"}, "oidc_issuer_url: "),
        ({"oidc_client_id": ""}, "oidc_client_id: must be set"),
        ({"oidc_username_claim": ""}, "oidc_username_claim: must not be empty"),
        ({"oidc_username_prefix": "system:"}, "oidc_username_prefix: must not start with system:"),
        ({"oidc_groups_claim": "g", "oidc_groups_prefix": "system:"}, "oidc_groups_prefix: must not start with"),
        ({"oidc_groups_prefix": "g:"}, "oidc_groups_prefix: has no effect without oidc_groups_claim"),
        ({"oidc_ca_file": Path("/absent")}, "oidc_ca_file: there is no file /absent"),
        ({"oidc_required_claims": ("a",)}, "oidc_required_claims: 'a' must be NAME=VALUE"),
    ],
)
def test_settings_that_do_not_go_together_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        OidcSettings(**{"oidc_issuer_url": "https://a.b", "oidc_client_id": "c", **given})


def test_a_file_without_authorities_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    with pytest.raises(ConfigurationError, match="oidc_ca_file: "):
        IssuerKeys("https://a.b", tmp_path / "ca.crt", clock)
