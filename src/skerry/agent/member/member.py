"""A node as a member of a fleet: it reports, takes what it is answered, and keeps its applications so.

Owns the order of these steps. Without its control plane it goes on with what it was told last, across restarts too.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import orjson

import skerry
from skerry.agent.member.activation import activate
from skerry.agent.member.applications import Applications, Runner
from skerry.agent.member.container_specs import ContainerPolicy
from skerry.agent.member.containers import Containers, connected
from skerry.agent.member.downloads import Downloads
from skerry.agent.member.errors import LinkError
from skerry.agent.member.function_front import FunctionFront
from skerry.agent.member.functions import TYPE as FUNCTION
from skerry.agent.member.functions import Functions
from skerry.agent.member.gateways import Gateways, Machine, joined_gateways
from skerry.agent.member.link import CloudLink, Told, cloud_link, ssl_context
from skerry.agent.member.pace import Pace
from skerry.agent.member.processes import Place
from skerry.agent.member.programs import Programs
from skerry.agent.member.remote import Remote
from skerry.agent.member.renewal import Renewal
from skerry.agent.member.replica import GATEWAYS, PROPERTIES, SYSTEM_APPS, Replica
from skerry.agent.member.settings import (
    STATUS_FILE,
    Batch,
    Identity,
    MemberSettings,
    keep_identity,
    known_identity,
    product_of,
)
from skerry.agent.member.socket_link import SocketLink, told_by
from skerry.agent.member.staging import Stage
from skerry.agent.member.usage import host_name, machine_facts, machine_stats
from skerry.agent.member.users import ProgramUsers, UserRange
from skerry.agent.member.volumes import Volumes
from skerry.api.model import Document
from skerry.fleet import frames
from skerry.fleet.frames import Frame
from skerry.functions.local.warm import WarmInstances, WarmSettings
from skerry.kit.backoff import Backoff
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.errors import SkerryError
from skerry.kit.files import make_private_directory, write_private
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, background, keep_running, run_blocking

log = get_logger(__name__)

#: How soon a change of this node's own is reported, where nothing changes besides.
LOOK_SECONDS = 1.0
#: A device whose activation failed tries again so often, at the latest.
ACTIVATION_SECONDS_MAX = 45.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a member runs."""

    applications: Applications
    gateways: Gateways


class Member:
    """A running member, as `run_member` yields it.

    Args:
        identity: who this node is.
        replica: what is wanted.
        parts: keep it so.
        pace: of its reports.
        clock: for the times that are told.

    Attributes:
        remote: takes commands.
        reported_at: when the control plane last took a report; "" for never since the start.
        link: over which it did: websocket, http or none.
    """

    remote: Remote

    def __init__(self, identity: Identity, replica: Replica, parts: Parts, pace: Pace, clock: Clock) -> None:
        self.name = identity.name
        self.wakeup = Wakeup()
        self._replica = replica
        self._applications = parts.applications
        self._gateways = parts.gateways
        self._pace = pace
        self._clock = clock
        self._host = host_name()
        #: Tells this agent from another that is the same node on a machine that says the same of itself.
        self._session = secrets.token_hex(8)
        self._reported: Document = {}
        #: Whether the control plane took no report the last time.
        self._unheard = False
        self.reported_at = ""
        self.link = "none"

    def status(self) -> Document:
        """Say how this node is, for `skerry agent status`."""
        states = [state.document(self._host) for state in self._applications.states()]
        return {
            "node": self.name,
            "pid": os.getpid(),
            "reportedAt": self.reported_at,
            "link": self.link,
            "applications": states,
            "gateways": self._gateways.status(),
        }

    def changing(self) -> Document:
        """Return the part of a report whose change is worth a report of its own."""
        states = self._applications.states()
        return {
            "apps": [{"name": name, "version": version} for name, version in self._applications.taken().items()],
            "states": [(state.name, state.version, state.status, state.cause) for state in states],
            GATEWAYS: self._replica.gateways,
        }

    def report(self, data_dir: Path) -> Document:
        """Return what is reported: what this machine is and uses, and what runs on it."""
        changing = self.changing()
        # This very program is all of Baetyl's parts.
        system = [{"name": name, "version": version} for name, version in self._replica.wanted(SYSTEM_APPS).items()]
        version = f"skerry-{skerry.__version__}"
        return {
            "time": rfc3339(self._clock.now()),
            "core": {"goVersion": "", "binVersion": version, "gitRevision": "", "session": self._session},
            "node": {self._host: machine_facts()},
            "nodestats": {self._host: machine_stats(data_dir)},
            "apps": changing["apps"],
            "sysapps": system,
            "appstats": [state.document(self._host) for state in self._applications.states()],
            "sysappstats": [],
            PROPERTIES: dict(self._replica.properties),
            GATEWAYS: changing[GATEWAYS],
        }

    async def tell(self, data_dir: Path, http: CloudLink, socket: SocketLink) -> None:
        """Report, and take what is answered. Raises LinkError."""
        self._reported = self.changing()
        report = self.report(data_dir)
        over_socket = socket.is_open
        try:
            told = await (socket.report(report) if over_socket else http.report(report))
        except LinkError:
            self._unheard = True
            raise
        if self._unheard:
            self._unheard = False
            socket.look_again()
        self.reported_at, self.link = rfc3339(self._clock.now()), "websocket" if over_socket else "http"
        self.take(told)
        self._gateways.reached()

    def take(self, told: Told) -> None:
        """Take what the control plane tells; raises LinkError."""
        if told.report_seconds.isdecimal() and self._pace.told(int(told.report_seconds)):
            self.wakeup.set()
        try:
            changed = self._replica.take(told.changes)
        except OSError as error:  # what can't be kept of the applications themselves is told as their cause
            changed = True
            log.warning("what is to run is not on disk yet", reason=error.strerror or str(error))
        if changed:
            self._applications.look()
            self._gateways.look()

    def linked(self) -> None:
        """Begin on another connection: with a report, and without the commands that came over the one before."""
        self.remote.end_all()
        self.wakeup.set()

    def hear(self, frame: Frame) -> None:
        """Take a frame that came without having been asked for."""
        if frame.kind == frames.REPORT:
            try:
                self.take(told_by(frame))
            except LinkError as error:
                log.warning("what the control plane told can't be taken", reason=error.public)
        elif frame.kind == frames.COMMAND:
            self.remote.hear(frame)

    def next_report_seconds(self) -> float:
        """Return how long to wait for the next report."""
        pending = any(state.status == "Pending" for state in self._applications.states())
        return self._pace.next_seconds(self._clock.monotonic_seconds(), pending=pending)

    def look(self) -> None:
        """Have what changed since the last report reported soon."""
        if self.changing() != self._reported:
            self._pace.changed(self._clock.monotonic_seconds())
            self.wakeup.set()


@asynccontextmanager
async def run_member(
    settings: MemberSettings, machine: Machine, clock: Clock, *, entered: str = ""
) -> AsyncIterator[Member]:
    """Run a node for the length of the block; a device that is not activated yet is, however long that takes.

    Args:
        settings: of agent.json.
        machine: serves Gateways.
        clock: for the times that are told.
        entered: the fingerprint that a person gave, where the product asks for one.

    Raises:
        ConfigurationError, StartError: something in its data directory can't be used.
        LinkError: a certificate can't be used.
    """
    data_dir = settings.data_dir
    make_private_directory(data_dir)
    replica = Replica(data_dir / "replica")
    identity = known_identity(settings)
    if identity is None:
        identity = await _activated(settings, product_of(settings), entered)
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(2, thread_name_prefix="agent-files"))
        trust = ssl_context(settings, identity)
        link = await stack.enter_async_context(cloud_link(settings.addresses, trust))
        http = await stack.enter_async_context(httpx.AsyncClient(verify=trust, follow_redirects=True))
        volumes = Volumes(data_dir, program_users(settings))
        stage = Stage(link, replica, Downloads(http, data_dir / "objects", executor), volumes, executor)
        runners = await stack.enter_async_context(_runners(settings, identity, volumes, clock, executor))
        applications = Applications(replica, stage, volumes, runners, executor)
        await stack.enter_async_context(applications.running())
        serving = joined_gateways(machine, identity.name, link, replica, data_dir / "gateways", executor)
        parts = Parts(applications, await stack.enter_async_context(serving))
        pace = Pace(settings.report_seconds)
        member = Member(identity, replica, parts, pace, clock)
        socket = SocketLink(settings.addresses, trust, member.linked, member.hear)
        member.remote = Remote(applications, parts.gateways, socket.send)
        await stack.enter_async_context(member.remote.running())

        async def renewed() -> None:
            await link.renew()
            await socket.renew()

        renewal = Renewal(settings, identity, trust, link, clock=clock, renewed=renewed)
        tell, turn = partial(member.tell, data_dir, link, socket), renewal.turn
        wait_seconds, retries = member.next_report_seconds, pace.retries
        reports = partial(
            keep_running, "report", tell, wakeup=member.wakeup, resync_seconds=wait_seconds, backoff=retries
        )
        renewals = partial(keep_running, "certificate", turn, wakeup=Wakeup(), resync_seconds=renewal.next_seconds)
        loops = (
            ("agent.report", reports),
            ("agent.link", socket.run),
            ("agent.certificate", renewals),
            ("agent.look", partial(_look, member, data_dir, executor)),
        )
        await stack.enter_async_context(background(*loops))
        log.info("this node runs", namespace=identity.namespace, node=identity.name)
        yield member


@asynccontextmanager
async def _runners(
    settings: MemberSettings, identity: Identity, volumes: Volumes, clock: Clock, executor: ThreadPoolExecutor
) -> AsyncIterator[Mapping[str, Runner]]:
    """Have what runs applications for the length of the block, by what they are."""
    host, _, port = settings.functions_address.rpartition(":")
    front, logs = FunctionFront(host.strip("[]"), int(port)), settings.data_dir / "logs"
    policy = ContainerPolicy(settings.allow_privileged, settings.container_network)
    place = Place(volumes, logs, identity.name, clock, executor)
    warm = WarmInstances(WarmSettings(settings.functions_warm_processes_max))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(warm.close)
        await stack.enter_async_context(front.running())
        client, threads = await stack.enter_async_context(connected(settings.container_host))
        yield {
            "native": Programs(place),
            FUNCTION: Functions(place, front, warm),
            "kube": Containers((client, settings.container_host), volumes, identity.name, policy, threads),
        }


def program_users(settings: MemberSettings) -> ProgramUsers:
    """Return the users of programs: only root can have them be others. Raises ConfigurationError, StartError."""
    wanted = settings.program_users if os.geteuid() == 0 else None
    return ProgramUsers(settings.data_dir, UserRange(wanted.first, wanted.count) if wanted else None)


async def _activated(settings: MemberSettings, batch: Batch, entered: str) -> Identity:
    backoff = Backoff(first_seconds=1.0, max_seconds=ACTIVATION_SECONDS_MAX)
    async with cloud_link(settings.addresses, ssl_context(settings, None)) as link:
        while True:
            try:
                identity = await activate(link, batch, entered)
            except SkerryError as error:
                delay = backoff.next_seconds()
                log.warning("not activated, will try again", reason=error.public, delay_seconds=round(delay, 1))
                await asyncio.sleep(delay)
            else:
                keep_identity(settings, identity)
                return identity


async def _look(member: Member, data_dir: Path, executor: ThreadPoolExecutor) -> None:
    """Have what changes here reported soon, and tell it to who asks on this machine."""
    told: Document = {}
    while True:
        member.look()
        if (status := member.status()) != told:
            content = orjson.dumps(status, option=orjson.OPT_INDENT_2)
            try:
                await run_blocking(executor, partial(write_private, data_dir / STATUS_FILE, content))
                told = status
            except OSError as error:  # tried again with the next look
                log.warning("the status can't be written", reason=error.strerror or str(error))
        await asyncio.sleep(LOOK_SECONDS)
