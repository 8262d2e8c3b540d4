"""Registries that send their clients to a token service, and those that ask for Basic."""

import base64
import hashlib
from collections.abc import Mapping, Sequence

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skerry.artifacts.errors import FetchError
from skerry.artifacts.fetching.fetcher import CodeFetcher
from skerry.artifacts.fetching.registry import challenges
from skerry.testing.images import Image, docker_image
from skerry.testing.scripted_server import Script, ScriptedServer, reply, scripted_server
from tests.contract.artifacts.conftest import MODULE, source

IMAGE = docker_image(MODULE)


def registry_scripts(image: Image, asked: Script) -> Mapping[str, Sequence[Script]]:
    """A registry that refuses its first request of a fetch."""
    blobs = {f"/v2/app/blobs/sha256:{hashlib.sha256(blob).hexdigest()}": [reply(200, blob)] for blob in image.blobs}
    manifest = reply(200, image.manifest, content_type=image.media_type)
    return {"/v2/": [asked], "/v2/app/manifests/v1": [asked, manifest], **blobs}


def bearer(port: int) -> Script:
    challenge = f'Bearer realm="http://127.0.0.1:{port}/token",service="registry.example",scope="repository:app:pull"'
    return reply(401, www_authenticate=challenge)


def authorizations(server: ScriptedServer) -> list[str]:
    return [request.headers["authorization"] for request in server.seen if "authorization" in request.headers]


async def test_a_token_is_asked_for_with_the_credentials_and_used_for_all_that_follows(fetcher: CodeFetcher) -> None:
    token = reply(200, orjson.dumps({"token": "abc"}))
    async with scripted_server({"/token": [token]}) as service, scripted_server() as registry:
        registry.scripts.update(registry_scripts(IMAGE, bearer(service.port)))
        config = {"auths": {f"127.0.0.1:{registry.port}": {"username": "u", "password": "p"}}}
        asked = source(f"127.0.0.1:{registry.port}/app:v1", docker_config=orjson.dumps(config))
        assert await fetcher.fetch(asked)
    assert service.paths() == ["/token?scope=repository%3Aapp%3Apull&service=registry.example"]
    assert authorizations(service) == ["Basic " + base64.b64encode(b"u:p").decode()]
    assert authorizations(registry) == ["Bearer abc", "Bearer abc"]


async def test_a_token_is_asked_for_as_nobody_without_credentials(fetcher: CodeFetcher) -> None:
    token = reply(200, orjson.dumps({"access_token": "abc"}))
    async with scripted_server({"/token": [token]}) as service, scripted_server() as registry:
        registry.scripts.update(registry_scripts(IMAGE, bearer(service.port)))
        assert await fetcher.fetch(source(f"127.0.0.1:{registry.port}/app:v1"))
    assert authorizations(service) == []


async def test_an_identity_token_is_exchanged(fetcher: CodeFetcher) -> None:
    token = reply(200, orjson.dumps({"access_token": "abc"}))
    async with scripted_server({"/token": [token]}) as service, scripted_server() as registry:
        registry.scripts.update(registry_scripts(IMAGE, bearer(service.port)))
        config = {"auths": {f"127.0.0.1:{registry.port}": {"identitytoken": "refresh"}}}
        await fetcher.fetch(source(f"127.0.0.1:{registry.port}/app:v1", docker_config=orjson.dumps(config)))
    (request,) = service.seen
    assert request.method == "POST"
    assert "grant_type=refresh_token" in request.body
    assert "refresh_token=refresh" in request.body


async def test_an_identity_token_does_not_follow_a_redirect_to_another_server(fetcher: CodeFetcher) -> None:
    async with scripted_server() as elsewhere, scripted_server() as service, scripted_server() as registry:
        service.scripts["/token"] = [reply(307, location=f"http://127.0.0.1:{elsewhere.port}/token")]
        registry.scripts.update(registry_scripts(IMAGE, bearer(service.port)))
        config = {"auths": {f"127.0.0.1:{registry.port}": {"identitytoken": "refresh"}}}
        with pytest.raises(FetchError, match="redirects a form to another server"):
            await fetcher.fetch(source(f"127.0.0.1:{registry.port}/app:v1", docker_config=orjson.dumps(config)))
    assert elsewhere.seen == []


async def test_basic_credentials_are_sent_to_a_registry_that_asks_for_them(fetcher: CodeFetcher) -> None:
    async with scripted_server() as registry:
        asked = reply(401, www_authenticate='Basic realm="Registry Realm"')
        registry.scripts.update(registry_scripts(IMAGE, asked))
        config = {"auths": {f"127.0.0.1:{registry.port}": {"username": "u", "password": "p"}}}
        await fetcher.fetch(source(f"127.0.0.1:{registry.port}/app:v1", docker_config=orjson.dumps(config)))
    assert set(authorizations(registry)) == {"Basic " + base64.b64encode(b"u:p").decode()}


async def test_credentials_do_not_follow_a_redirect_to_another_host(fetcher: CodeFetcher) -> None:
    layer = IMAGE.blobs[-1]
    path = f"/v2/app/blobs/sha256:{hashlib.sha256(layer).hexdigest()}"
    async with scripted_server({"/layer": [reply(200, layer)]}) as storage, scripted_server() as registry:
        registry.scripts.update(registry_scripts(IMAGE, reply(401, www_authenticate='Basic realm="r"')))
        registry.scripts[path] = [reply(307, location=f"http://127.0.0.1:{storage.port}/layer")]
        config = {"auths": {f"127.0.0.1:{registry.port}": {"username": "u", "password": "p"}}}
        await fetcher.fetch(source(f"127.0.0.1:{registry.port}/app:v1", docker_config=orjson.dumps(config)))
    assert len(storage.seen) == 1
    assert authorizations(storage) == []


@pytest.mark.parametrize(
    ("realm", "said"),
    [("file:///etc/passwd", "no http or https URL"), ("http://token.example/t", "without TLS"), ("//x", "no http")],
)
async def test_a_token_service_that_no_password_may_go_to_is_refused(
    realm: str, said: str, fetcher: CodeFetcher
) -> None:
    async with scripted_server() as registry:
        registry.scripts.update(registry_scripts(IMAGE, reply(401, www_authenticate=f'Bearer realm="{realm}"')))
        with pytest.raises(FetchError, match=said) as raised:
            await fetcher.fetch(source(f"127.0.0.1:{registry.port}/app:v1"))
    assert raised.value.reason == "Unauthorized"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb"}'])
async def test_an_answer_without_a_token_is_refused(body: bytes, fetcher: CodeFetcher) -> None:
    async with scripted_server({"/token": [reply(200, body)]}) as service, scripted_server() as registry:
        registry.scripts.update(registry_scripts(IMAGE, bearer(service.port)))
        with pytest.raises(FetchError, match="token"):
            await fetcher.fetch(source(f"127.0.0.1:{registry.port}/app:v1"))


@pytest.mark.parametrize("fault", ["manifest", "layer"])
async def test_a_registry_that_serves_other_bytes_than_it_names_is_found_out(fault: str, fetcher: CodeFetcher) -> None:
    async with scripted_server() as registry:
        registry.scripts.update(registry_scripts(IMAGE, reply(200, b"{}")))
        other = docker_image(b"other")
        lying = {"manifest": f"/v2/app/manifests/sha256:{'ab' * 32}"}.get(
            fault, f"/v2/app/blobs/sha256:{hashlib.sha256(IMAGE.blobs[-1]).hexdigest()}"
        )
        registry.scripts[lying] = [reply(200, other.manifest)]
        registry.scripts["/v2/app/manifests/v1"] = [reply(200, IMAGE.manifest, content_type=IMAGE.media_type)]
        reference = f"@sha256:{'ab' * 32}" if fault == "manifest" else ":v1"
        with pytest.raises(FetchError) as raised:
            await fetcher.fetch(source(f"127.0.0.1:{registry.port}/app{reference}"))
    assert raised.value.reason == "DigestMismatch"


def test_challenges_are_read_as_the_standard_writes_them() -> None:
    assert list(challenges(['Bearer realm="https://a/t?x=1,2",service="s"', "Basic realm=plain"])) == [
        ("bearer", {"realm": "https://a/t?x=1,2", "service": "s"}),
        ("basic", {"realm": "plain"}),
    ]
    assert list(challenges(['Basic realm="a", Bearer realm="b", scope="c d"'])) == [
        ("basic", {"realm": "a"}),
        ("bearer", {"realm": "b", "scope": "c d"}),
    ]
    assert list(challenges([])) == []


@given(st.text(alphabet='aZ_="\\ ,', max_size=200) | st.text())
@example("a" * 100_000)
@example("a " * 50_000)
@example('a="' * 30_000)
def test_any_header_is_read_in_no_time(header: str) -> None:
    for scheme, parameters in challenges([header]):
        assert scheme == scheme.lower()
        assert all(parameters)
