"""A whole node against front doors that listen: both links, what is told over them, and its certificate."""

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from skerry.agent.member.errors import LinkError
from skerry.agent.member.link import CloudLink, cloud_link, ssl_context
from skerry.agent.member.member import run_member
from skerry.agent.member.renewal import Renewal
from skerry.agent.member.settings import Certificate, Identity, MemberSettings, keep_identity, known_identity
from skerry.agent.member.socket_link import SocketLink
from skerry.api.baetyl_v1alpha1 import Node
from skerry.kit.backoff import Backoff
from skerry.kit.clock import SystemClock
from skerry.server.app import App
from skerry.server.node_certificates import issue_node_certificate
from skerry.testing.clock import FakeClock
from skerry.testing.member_node import idle_machine, until
from skerry.testing.node_links import ServedFleet, node_trust, served_fleet
from skerry.testing.waiting import SECONDS_MAX


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedFleet]:
    async with served_fleet(tmp_path / "cloud") as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, served: ServedFleet) -> MemberSettings:
    """How the node of the served fleet reaches it."""
    return served.node_settings(tmp_path / "node")


async def test_a_node_runs_what_it_is_told_over_its_link_and_reports_there(
    served: ServedFleet, settings: MemberSettings
) -> None:
    await served.doors.ask("PUT", "/v1/nodes/sn001/core/configs", {"frequency": 300})
    async with run_member(settings, idle_machine(settings.data_dir / "code"), SystemClock()) as member:
        await until(lambda: member.link == "websocket")
        # Its next report would come after a minute and more: what it runs now, it was told unasked.
        await served.sleeper()
        await until(lambda: any(each["status"] == "Running" for each in member.status()["applications"]))
        report = await served.reported(lambda report: any(app["name"] == "sleeper" for app in report["apps"]))
        assert report["core"]["session"]
        await until(lambda: (settings.data_dir / "logs/sleeper/main-0.log").read_bytes() == b"hello\n")
        about = "/v1/nodes/sn001/apps/sleeper"
        assert (await served.doors.http.get(f"{about}/logs?tailLines=1")).text == "hello\n"
        assert "status: Running" in (await served.doors.http.get(f"{about}/describe")).text
        assert "timestamps" in await served.doors.refused("GET", f"{about}/logs?timestamps=true")
        counted = await served.doors.http.get("/v1/nodes/sn001/metrics")
        assert (counted.status_code, counted.text) == (200, "")  # it serves no function
        assert 75 * 0.9 <= member.next_report_seconds() <= 75


async def test_a_control_plane_without_links_is_reported_to_over_http(
    served: ServedFleet, settings: MemberSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(App, "converses_at", lambda *_: False)
    await served.sleeper()
    async with run_member(settings, idle_machine(settings.data_dir / "code"), SystemClock()) as member:
        await until(lambda: any(each["status"] == "Running" for each in member.status()["applications"]))
        assert member.link == "http"


async def test_a_node_whose_link_another_agent_took_reports_over_http(
    served: ServedFleet, settings: MemberSettings
) -> None:
    settings = settings.model_copy(update={"report_seconds": 1})
    async with run_member(settings, idle_machine(settings.data_dir / "code"), SystemClock()) as member:
        await until(lambda: member.link == "websocket")
        async with served.link() as other:
            await other.ask("report", {"node": {"host": {"hostname": "other"}}})
            await until(lambda: member.link == "http")
        await served.reported(lambda report: "core" in report)


async def test_the_first_report_after_an_outage_brings_the_link_back(
    settings: MemberSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = ["began"]
    report, connect = CloudLink.report, SocketLink._connect

    async def reported(link: CloudLink, document: Any) -> Any:
        if outage:
            outage.append("report")
            raise LinkError("nobody is there")
        return await report(link, document)

    def connected(link: SocketLink) -> Any:
        if outage:
            outage.append("link")
            raise ConnectionRefusedError("nobody is there")
        return connect(link)

    monkeypatch.setattr(CloudLink, "report", reported)
    monkeypatch.setattr(SocketLink, "_connect", connected)
    monkeypatch.setattr(Backoff, "next_seconds", lambda _: 3600.0)  # nothing is tried again by itself
    async with run_member(settings, idle_machine(settings.data_dir / "code"), SystemClock()) as member:
        await until(lambda: {"link", "report"} <= set(outage))
        outage.clear()
        member.wakeup.set()
        await until(lambda: member.link == "websocket")


def kept(settings: MemberSettings) -> Identity:
    identity = known_identity(settings)
    assert identity is not None
    return identity


def renewal(settings: MemberSettings, link: CloudLink, clock: Any, heard: list[str]) -> Renewal:
    async def renewed() -> None:
        heard.append("renewed")

    identity = kept(settings)
    return Renewal(settings, identity, ssl_context(settings, identity), link, clock=clock, renewed=renewed)


async def test_a_certificate_is_renewed_before_it_ends_and_the_old_one_holds(
    served: ServedFleet, settings: MemberSettings
) -> None:
    heard: list[str] = []
    before = kept(settings)
    async with cloud_link(settings.addresses, ssl_context(settings, before)) as link:
        await renewal(settings, link, SystemClock(), heard).turn()
        assert (heard, kept(settings)) == ([], before)  # it is not time yet
        await renewal(settings, link, FakeClock(), heard).turn()  # years later
    after = kept(settings)
    assert heard == ["renewed"]
    assert after.certificate.cert != before.certificate.cert
    authority = served.doors.authority.pem.decode()
    for identity in (before, after):
        trust = node_trust(authority, {"cert": identity.certificate.cert, "key": identity.certificate.key})
        async with httpx.AsyncClient(base_url=served.at.url, verify=trust, timeout=SECONDS_MAX) as http:
            assert (await http.post("/v1/sync/report", json={})).status_code == 200


async def test_a_revoked_node_gets_no_other_certificate_and_keeps_what_it_has(
    served: ServedFleet, settings: MemberSettings
) -> None:
    before = kept(settings)
    await served.doors.ask("POST", "/v1/nodes/sn001/revoke")
    async with cloud_link(settings.addresses, ssl_context(settings, before)) as link:
        with pytest.raises(LinkError, match="answered 401"):
            await renewal(settings, link, FakeClock(), []).turn()
    assert kept(settings) == before
    assert list(settings.data_dir.iterdir()) == []


async def test_a_node_is_who_its_newest_certificate_says_and_not_another_node(
    served: ServedFleet, settings: MemberSettings
) -> None:
    installed = kept(settings)
    node = await served.doors.client.get(Node, "sn001", namespace="default")
    yesterday = SystemClock().now() - dt.timedelta(days=1)
    cert, key = issue_node_certificate(served.doors.authority, node, yesterday)
    older = Certificate(cert=cert.decode(), key=key.decode())
    for found in (
        installed.model_copy(update={"certificate": older}),
        installed.model_copy(update={"name": "another"}),
    ):
        keep_identity(settings, found)
        assert kept(settings) == installed
    of_yesterday = settings.model_copy(update={"node": installed.model_copy(update={"certificate": older})})
    keep_identity(settings, installed)
    assert kept(of_yesterday) == installed
