"""Client certificates: whom they stand for, how long, and which do not get through the handshake."""

import datetime as dt
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from skerry.kit.clock import SystemClock
from skerry.server.auth import AUTHENTICATED, Credentials
from skerry.server.client_certificates import (
    ClientCertificates,
    issue_client_certificate,
    read_client_certificate,
)
from skerry.server.tls import Authority, open_authority
from skerry.testing.api_server import ApiServer, run_api_server
from skerry.testing.clock import START, FakeClock
from skerry.testing.waiting import SECONDS_MAX

HOUR = dt.timedelta(hours=1)
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with run_api_server(tmp_path / "server") as running:
        yield running


def client(server: ApiServer, issuer: Authority, directory: Path) -> httpx.AsyncClient:
    now = SystemClock().now()
    certificate, key = issue_client_certificate(issuer, "alice", ["dev"], (now, now + HOUR))
    path = directory / "client.pem"
    path.write_bytes(certificate + key)
    trust = ssl.create_default_context(cafile=str(server.authority))
    trust.load_cert_chain(path)
    return httpx.AsyncClient(base_url=server.at.url, verify=trust, timeout=SECONDS_MAX)


async def test_its_names_are_the_user_and_the_groups(server: ApiServer, tmp_path: Path) -> None:
    ours = open_authority(server.authority.parent, SystemClock())
    async with client(server, ours, tmp_path) as http:
        for _ in range(2):  # on one connection
            info = (await http.post(WHO, json={})).json()["status"]["userInfo"]
            assert (info["username"], info["groups"]) == ("alice", ["dev", AUTHENTICATED])


async def test_one_of_another_authority_does_not_get_through(server: ApiServer, tmp_path: Path) -> None:
    theirs = open_authority(tmp_path / "theirs", SystemClock())
    async with client(server, theirs, tmp_path) as http:
        with pytest.raises(httpx.HTTPError):
            await http.post(WHO, json={})


async def test_the_servers_own_certificate_is_not_one_of_a_client(server: ApiServer) -> None:
    trust = ssl.create_default_context(cafile=str(server.authority))
    trust.load_cert_chain(server.authority.with_name("server.pem"))
    async with httpx.AsyncClient(base_url=server.at.url, verify=trust, timeout=SECONDS_MAX) as http:
        with pytest.raises(httpx.HTTPError):
            await http.post(WHO, json={})


async def test_it_ends_at_its_time_also_on_an_open_connection(tmp_path: Path) -> None:
    clock = FakeClock()
    authority = open_authority(tmp_path, clock)
    pem, _ = issue_client_certificate(authority, "alice", [], (START, START + HOUR))
    shown = read_client_certificate(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))
    known = ClientCertificates(clock)
    clock.advance(3599)
    assert await known.authenticate(Credentials(certificate=shown)) is not None
    clock.advance(1)
    assert await known.authenticate(Credentials(certificate=shown)) is None


def test_a_name_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, FakeClock())
    with pytest.raises(ValueError, match="64"):
        issue_client_certificate(authority, "x" * 65, [], (START, START + HOUR))
