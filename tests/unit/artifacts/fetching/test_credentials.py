"""Credentials from docker configurations: for the registry that a key names, and no other."""

import base64
from typing import Any

import orjson
import pytest

from skerry.api.code_urls import OciReference
from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.credentials import Credentials, credentials_for

ALICE = {"username": "alice", "password": "p:w"}


def found(auths: Any, registry: str = "r.example:5000", repository: str = "team/app") -> Credentials | None:
    return credentials_for(orjson.dumps({"auths": auths}), OciReference(registry, repository))


@pytest.mark.parametrize(
    "entry",
    [ALICE, {"auth": base64.b64encode(b"alice:p:w").decode()}, {**ALICE, "email": "a@b"}],
)
def test_a_user_and_a_password_are_read_in_each_form(entry: dict[str, str]) -> None:
    assert found({"r.example:5000": entry}) == Credentials("alice", "p:w")


@pytest.mark.parametrize(
    "key", ["r.example:5000", "https://r.example:5000", "https://r.example:5000/v2/", "R.example:5000"]
)
def test_a_registry_is_known_by_each_of_its_spellings(key: str) -> None:
    assert found({key: ALICE}) is not None


@pytest.mark.parametrize(
    "key", ["r.example", "r.example:5001", "example:5000", "other.example:5000", "r.example:5000/else"]
)
def test_credentials_of_another_registry_are_not_used(key: str) -> None:
    assert found({key: ALICE}) is None


def test_the_most_specific_part_of_a_registry_wins() -> None:
    bob = {"username": "bob", "password": ""}
    auths = {"r.example:5000": ALICE, "r.example:5000/team": bob, "r.example:5000/team/other": ALICE}
    assert found(auths) == Credentials("bob", "")


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"])
def test_docker_hub_is_known_by_its_old_name(key: str) -> None:
    assert found({key: ALICE}, "docker.io", "library/app") is not None


def test_an_entry_without_content_is_for_nobody() -> None:
    assert found({"r.example:5000": {}}) is None
    assert found({}) is None
    assert credentials_for(b'{"credsStore": "desktop"}', OciReference("r.example", "a")) is None


def test_an_identity_token_is_read() -> None:
    credentials = found({"r.example:5000": {"identitytoken": "refresh"}})
    assert credentials is not None
    assert credentials.identity_token == "refresh"
    assert "refresh" not in repr(credentials)


@pytest.mark.parametrize(
    "configuration",
    [b"", b"null", b"[]", b'{"auths": []}', b'{"auths": {"r.example:5000": "secret"}}',
     b'{"auths": {"r.example:5000": {"auth": "secret!"}}}', b'{"auths": {"r.example:5000": {"username": 5}}}'],
)  # fmt: skip
def test_a_configuration_that_can_not_be_read_is_refused_and_not_quoted(configuration: bytes) -> None:
    with pytest.raises(FetchError, match="can't be read") as raised:
        credentials_for(configuration, OciReference("r.example:5000", "a"))
    assert raised.value.reason == "CredentialsInvalid"
    assert "secret" not in raised.value.public
