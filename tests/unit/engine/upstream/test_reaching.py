"""Where subrequests go: names that lie, addresses in disguise, and connections that were allowed once."""

import ipaddress
import threading
from typing import TYPE_CHECKING

import pytest

from skerry.engine.egress import EgressPolicy, EgressRule
from skerry.engine.fetching import Fetcher
from skerry.engine.upstream.limits import FetchLimits
from tests.unit.engine.upstream.conftest import Function, read_request, saying
from tests.unit.engine.upstream.test_http1 import OK

if TYPE_CHECKING:
    import socket

    from skerry.kit.addresses import Address
    from tests.unit.engine.upstream.conftest import Lab

LOOPBACK = ipaddress.ip_address("127.0.0.1")
PUBLIC = ipaddress.ip_address("192.88.98.1")  # nothing is there


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0", "[::1]", "[::ffff:127.0.0.1]",
     "[0:0:0:0:0:ffff:7f00:1]", "[::]", "[64:ff9b::7f00:1]"],
)  # fmt: skip
def test_loopback_is_refused_however_it_is_written(lab: "Lab", host: str):
    upstream = lab.upstream(saying(OK))
    function = lab.function(policy=EgressPolicy())
    assert "not a public address" in function.fetch(f"http://{host}:{upstream.port}/").problem
    assert upstream.connections == 0


def test_a_name_that_resolves_to_loopback_is_refused_and_says_where_it_led(lab: "Lab"):
    upstream = lab.upstream(saying(OK))
    function = lab.function(policy=EgressPolicy(), look_up=lambda _: [LOOPBACK])
    assert "evil.test (127.0.0.1)" in function.fetch(f"http://evil.test:{upstream.port}/").problem
    assert upstream.connections == 0


def test_a_name_that_changes_its_answer_is_connected_to_where_it_was_checked(lab: "Lab"):
    """Rebinding: a public address for the check, loopback for the connection. There is one answer, for both."""
    answers = [[PUBLIC], [LOOPBACK]]
    asked = []

    def look_up(host: str) -> "list[Address]":
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    upstream = lab.upstream(saying(OK))
    limits = FetchLimits(connect_seconds_max=0.05)
    function = lab.function(policy=EgressPolicy(), look_up=look_up, limits=limits)
    problem = function.fetch(f"http://evil.test:{upstream.port}/").problem
    assert "can't be connected to" in problem
    assert upstream.connections == 0
    assert asked == ["evil.test"]


def test_of_several_addresses_only_allowed_ones_are_tried(lab: "Lab"):
    upstream = lab.upstream(saying(OK))
    policy = EgressPolicy((EgressRule((ipaddress.ip_network("127.0.0.1"),)),))
    other = ipaddress.ip_address("127.0.0.2")
    function = lab.function(policy=policy, look_up=lambda _: [other, LOOPBACK])
    assert function.fetch(f"http://two.test:{upstream.port}/").body == b"ok"


def test_a_name_that_does_not_resolve_or_takes_too_long_is_an_error(lab: "Lab"):
    released = threading.Event()

    def look_up(host: str) -> "list[Address]":
        if host == "slow.test":
            released.wait(60)
        raise OSError("no such name")

    function = lab.function(look_up=look_up, limits=FetchLimits(resolve_seconds_max=0.05))
    assert "none.test can't be resolved" in function.fetch("http://none.test/").problem
    assert "resolving slow.test took too long" in function.fetch("http://slow.test/").problem
    released.set()


def test_a_change_of_the_policy_applies_to_kept_connections(lab: "Lab"):
    policies = [EgressPolicy.parse(["127.0.0.1"]), EgressPolicy(), EgressPolicy.parse(["127.0.0.0/8"])]
    present = [policies[0]]
    fetcher = Fetcher(lambda _: present[0])
    function = Function(fetcher)
    upstream = lab.upstream(saying(OK, OK, OK))
    assert function.fetch(upstream.url).body == b"ok"
    present[0] = policies[1]
    assert "not a public address" in function.fetch(upstream.url).problem
    present[0] = policies[2]
    assert function.fetch(upstream.url).body == b"ok"
    fetcher.close()


class Holding:
    """An upstream that answers when told."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.release = threading.Event()

    def __call__(self, sock: "socket.socket") -> None:
        while read_request(sock):
            self.asked.release()
            self.release.wait(60)
            sock.sendall(OK)


def test_a_function_has_so_many_subrequests_at_once_and_others_go_on(lab: "Lab"):
    limits = FetchLimits(exchanges_per_function_max=2, waiting_per_function_max=1)
    hold = Holding()
    fetcher, upstream, quick = lab.fetcher(limits=limits), lab.upstream(hold), lab.upstream(saying(OK))
    greedy = Function(fetcher, "greedy")
    numbers = [greedy.start(upstream.url) for _ in range(4)]
    refused = greedy.next_event()
    assert refused.id == numbers[3]
    assert b"2 subrequests of the function run and 1 wait" in refused.text
    assert fetcher.statistics()["fetches_waiting"] == 1
    assert Function(fetcher, "modest").fetch(quick.url).body == b"ok"
    hold.release.set()
    assert {greedy.next_event().id for _ in range(3)} == set(numbers[:3])
    assert upstream.connections == 2


def test_who_waits_for_a_connection_of_another_function_gets_it_when_that_ends(lab: "Lab"):
    hold = Holding()
    fetcher = lab.fetcher(limits=FetchLimits(connections_max=1))
    upstream, other = lab.upstream(hold), lab.upstream(saying(OK))
    first, second = Function(fetcher, "first"), Function(fetcher, "second")
    number = first.start(upstream.url)
    waiting = second.start(other.url)
    done = []
    thread = threading.Thread(target=lambda: done.append(first.finish(number)))
    thread.start()
    assert hold.asked.acquire(timeout=20)
    hold.release.set()
    assert second.finish(waiting).body == b"ok"
    thread.join(20)
    assert [each.body for each in done] == [b"ok"]  # the kept connection made room for one to another origin


def test_waiting_for_a_connection_ends(lab: "Lab"):
    hold = Holding()
    fetcher = lab.fetcher(limits=FetchLimits(connections_per_origin_max=1, waiting_seconds_max=0.05))
    function, upstream = Function(fetcher), lab.upstream(hold)
    function.start(upstream.url)
    function.start(upstream.url)
    assert b"waiting for a connection took too long" in function.next_event().text
    hold.release.set()
    function.subrequests.end()
    assert fetcher.statistics() == {"fetch_connections": 0, "fetch_connections_idle": 0, "fetches_waiting": 0}


def test_kept_connections_are_bounded_and_end_after_a_time(lab: "Lab"):
    fetcher = lab.fetcher(limits=FetchLimits(kept_max=2, kept_seconds_max=0.0))
    function = Function(fetcher)
    for _ in range(4):
        function.fetch(lab.upstream(saying(OK, OK)).url)
    assert fetcher.statistics()["fetch_connections_idle"] == 2
    fetcher.sweep()
    assert fetcher.statistics()["fetch_connections"] == 0
