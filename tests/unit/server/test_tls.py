"""The authority is made once; the server's certificate is kept current."""

import datetime as dt
import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from skerry.kit.clock import SystemClock
from skerry.kit.errors import StartError
from skerry.server.tls import CERTIFICATE_DAYS, Authority, ServerIdentity, open_authority


class LaterClock(SystemClock):
    """The present, some days on."""

    def __init__(self, days: int = 0) -> None:
        self.days = days

    def now(self) -> dt.datetime:
        return super().now() + dt.timedelta(days=self.days)


def certificate(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return open_authority(tmp_path, SystemClock())


def test_the_authority_is_made_once_and_private(tmp_path: Path, authority: Authority) -> None:
    again = open_authority(tmp_path, SystemClock())
    assert again.pem == authority.pem
    assert isinstance(again.key.curve, ec.SECP256R1)
    for name in ("ca.crt", "ca.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert constraints.ca


@pytest.mark.usefixtures("authority")
@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_half_an_authority_stops_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / name).unlink()
    with pytest.raises(StartError, match=r"restore ca.crt and ca.key, or remove both"):
        open_authority(tmp_path, SystemClock())
    (tmp_path / name).write_text("damaged")
    with pytest.raises(StartError):
        open_authority(tmp_path, SystemClock())


@pytest.mark.usefixtures("authority")
def test_a_key_of_another_certificate_stops_the_start(tmp_path: Path) -> None:
    other = tmp_path / "other"
    open_authority(other, SystemClock())
    (tmp_path / "ca.key").write_bytes((other / "ca.key").read_bytes())
    with pytest.raises(StartError, match=r"ca.key in .* is not the key of ca.crt"):
        open_authority(tmp_path, SystemClock())


def test_the_servers_certificate_names_it_and_is_signed(tmp_path: Path, authority: Authority) -> None:
    ServerIdentity(tmp_path, authority, ["skerry.example", "10.0.0.7"], SystemClock())
    issued = certificate(tmp_path)
    issued.verify_directly_issued_by(authority.certificate)
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "skerry.example"]
    assert ipaddress.ip_address("10.0.0.7") in names.get_values_for_type(x509.IPAddress)
    assert stat.S_IMODE((tmp_path / "server.pem").stat().st_mode) == 0o600


def test_it_is_kept_while_it_serves(tmp_path: Path, authority: Authority) -> None:
    ServerIdentity(tmp_path, authority, [], SystemClock())
    first = certificate(tmp_path)
    ServerIdentity(tmp_path, authority, [], LaterClock(days=CERTIFICATE_DAYS - 31))
    assert certificate(tmp_path) == first


def test_it_is_made_again_when_names_change_it_ends_soon_or_is_not_ours(tmp_path: Path, authority: Authority) -> None:
    ServerIdentity(tmp_path, authority, [], SystemClock())
    seen = {certificate(tmp_path).serial_number}
    ServerIdentity(tmp_path, authority, ["other"], SystemClock())
    seen.add(certificate(tmp_path).serial_number)
    ServerIdentity(tmp_path, authority, ["other"], LaterClock(days=CERTIFICATE_DAYS - 29))
    seen.add(certificate(tmp_path).serial_number)
    (tmp_path / "server.pem").write_text("damaged")
    ServerIdentity(tmp_path, authority, ["other"], SystemClock())
    seen.add(certificate(tmp_path).serial_number)
    stranger = open_authority(tmp_path / "stranger", SystemClock())
    ServerIdentity(tmp_path, stranger, ["other"], SystemClock())
    seen.add(certificate(tmp_path).serial_number)
    assert len(seen) == 5


async def test_a_running_server_renews_in_time(tmp_path: Path, authority: Authority) -> None:
    clock = LaterClock()
    identity = ServerIdentity(tmp_path, authority, [], clock)
    first = certificate(tmp_path)
    await identity.renew()
    assert certificate(tmp_path) == first
    clock.days = CERTIFICATE_DAYS
    await identity.renew()
    assert certificate(tmp_path) != first
