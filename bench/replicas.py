"""Replicas on one PostgreSQL, beside SQLite and beside etcd: `python bench/replicas.py [--help]`.

1, 2 and 4 `skerry serve`, each number on a PostgreSQL of its own, one on SQLite, and an etcd do the same work: get,
list and create objects of the same content, and tell watchers of a new one. Reads are consistent ones: none names a
revision. All run the whole time, on the same disk, with TLS, and sync what they acknowledge. Each round measures one
after the other, while those that are not meant are stopped (SIGSTOP); a figure is the median of the rounds, in
parentheses its ratio to that of the first number of replicas. `wrk`, one process an endpoint, shares the cores with
them: it waits its turn for one, and what is read again and again it puts into words once. Besides the rate stands what
a request takes of processor time, in the servers, in PostgreSQL and in `wrk`: where a core each is to be had, that of
the servers is what counts. etcd is asked through its JSON gateway, so that the clients are the same.
"""

import argparse
import asyncio
import itertools
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import uvloop
from api import Connection, close, milliseconds, row, table, trust
from rig import Measured, Target, wrk
from side_by_side import (
    CONNECTIONS,
    Dialect,
    Endpoint,
    Request,
    Store,
    call,
    connect,
    each,
    make_folders,
    microseconds,
    processor_seconds,
    stopped,
    stores,
)

T = TypeVar("T")

OBJECTS = 1_000
PAGE = 100
CHANGES = 10
WATCH = "watch"
READ, WRITTEN, WATCHED = "read", "written", "watched"
NUMBERS = itertools.count()
#: Of the numbers of one `wrk`, which asks for fewer than lie between.
STARTS = itertools.count(100_000, 100_000)

#: `number` is one of those that are there, or the next that is not.
_LUA = """
local number, made = {first}, {{}}
local function make()
  local digits = string.format("%08d", number)
  return wrk.format("{method}", {path}, nil, {body})
end
request = function()
  if {is_new} then
    number = number + 1
    return make()
  end
  number = math.random(0, {objects} - 1)
  made[number] = made[number] or make()
  return made[number]
end
"""


@dataclass(frozen=True)
class Kind:
    """One kind of request.

    Attributes:
        name: for the table.
        make: it, in a dialect.
        is_new: each asks for a number that was not used yet.
        beside_writer: one of the objects is changed meanwhile, as often as that is answered.
    """

    name: str
    make: Callable[[Dialect], Request]
    is_new: bool = False
    beside_writer: bool = False


def get(dialect: Dialect) -> Request:
    return dialect.get(READ)


def page(dialect: Dialect) -> Request:
    return dialect.list(READ, PAGE)


def create(dialect: Dialect) -> Request:
    return dialect.create(WRITTEN)


KINDS = {
    "get": (Kind("get", get), Kind("get, beside a writer", get, beside_writer=True)),
    "list": (Kind(f"list of {PAGE}", page), Kind(f"list of {PAGE}, beside a writer", page, beside_writer=True)),
    "create": (Kind("create", create, is_new=True),),
}


@dataclass(frozen=True)
class Round:
    """What was seen in one: requests a second, seconds of the slowest endpoint's p99, and how busy the servers were.

    Attributes:
        processor: microseconds of a request, of the endpoints, of PostgreSQL, and of `wrk`.
    """

    rate: float
    p99: float
    processor: tuple[float, float, float]


def load(store: Store, kind: Kind, seconds: int) -> Round:
    """Ask all endpoints at once."""
    before = (*processor_seconds(store), client_seconds())
    with writer(store) if kind.beside_writer else nullcontext(), ThreadPoolExecutor(len(store.endpoints)) as threads:
        found = list(threads.map(lambda endpoint: ask(store, endpoint, kind, seconds), store.endpoints))
    after, requests = (*processor_seconds(store), client_seconds()), sum(one.requests for one in found)
    own, postgres, clients = ((now - start) / requests * 1e6 for now, start in zip(after, before, strict=True))
    return Round(sum(one.rate for one in found), max(one.p99 for one in found) / 1e3, (own, postgres, clients))


def client_seconds() -> float:
    """Return the processor time of all `wrk` that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


@contextmanager
def writer(store: Store) -> Iterator[None]:
    """Change an object again and again for the length of the block, each time when the last one is answered."""
    done = threading.Event()

    async def work() -> None:
        (client,) = await connect(store.first(), 1)
        while not done.is_set():
            await call(client, store.dialect.changed(READ, 0, next(NUMBERS)))
        close([client])

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(uvloop.run, work())
        try:
            yield
        finally:
            done.set()
        writing.result()


def ask(store: Store, endpoint: Endpoint, kind: Kind, seconds: int) -> Measured:
    made = vars(kind.make(store.dialect))
    first = next(STARTS) if kind.is_new else 0
    target = Target(0, endpoint.header, url=endpoint.access.server)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_LUA.format(first=first, is_new=str(kind.is_new).lower(), objects=OBJECTS, **made))
        script.flush()
        return wrk(target, seconds, script=Path(script.name), connections=CONNECTIONS // len(store.endpoints))


async def prepare(store: Store) -> None:
    """Make the objects that are read."""
    await make_folders(store, READ, WRITTEN, WATCHED)
    await each(store, range(OBJECTS), lambda number: store.dialect.created(READ, number))


async def settle(store: Store) -> None:
    """Wait until each endpoint, which may have been stopped, has caught up."""
    clients = await connect(store, len(store.endpoints))
    newest = store.dialect.newest(WATCHED)
    revision = store.dialect.revision(await call(clients[0], newest))
    for client in clients if store.dialect.is_skerry else []:
        await client.call("GET", f"{newest.path}&resourceVersion={revision}")
    close(clients)


def all_seen(store: Store, watchers: int) -> float:
    """Return how long after a change's begin so many watchers have seen it; the median of some changes."""
    return uvloop.run(fan_out(store, watchers))


async def fan_out(store: Store, watchers: int) -> float:
    (writer,) = await connect(store.first(), 1)
    revision = store.dialect.revision(await call(writer, store.dialect.newest(WATCHED)))
    watch, trusted = store.dialect.watch(WATCHED, revision), trust(store.endpoints[0].access)
    clients: list[Connection] = []
    for endpoint in itertools.islice(itertools.cycle(store.endpoints), watchers):
        client = await Connection.open(endpoint.access, trusted)
        clients.append(client)
        client.send(watch.method, watch.path, watch.body)  # at once: a server waits for a request for 30 s
        assert (await client.answer_head())[0] == 200
        if not store.dialect.is_skerry:
            await client.chunk()  # says that it watches
    seconds = []
    for _ in range(CHANGES):
        begun = time.perf_counter()
        change = asyncio.ensure_future(call(writer, store.dialect.created(WATCHED, next(NUMBERS))))
        for client in clients:
            await client.chunk()
        seconds.append(time.perf_counter() - begun)
        await change
    close([*clients, writer])
    return statistics.median(seconds)


def in_turns(arrangements: Sequence[Store], rounds: int, measure: Callable[[Store], T]) -> Mapping[str, list[T]]:
    """Measure one after the other, and all of it again for each round."""
    found: dict[str, list[T]] = {store.name: [] for store in arrangements}
    everyone = {endpoint.pid for store in arrangements for endpoint in store.endpoints}
    for _ in range(rounds):
        for store in arrangements:
            with stopped(everyone - {endpoint.pid for endpoint in store.endpoints}):
                uvloop.run(settle(store))
                found[store.name].append(measure(store))
    return found


def compared(values: Mapping[str, float], unit: Callable[[float], str]) -> list[str]:
    """Return cells, with ratios to the first arrangement on PostgreSQL, where there is one."""
    base = next((value for name, value in values.items() if name.startswith("PostgreSQL")), 0.0)
    return [unit(value) + (f" ({value / base:.2f})" if base and value != base else "") for value in values.values()]


def print_requests(arrangements: Sequence[Store], options: argparse.Namespace) -> None:
    table(f"{CONNECTIONS} connections", [store.name for store in arrangements])
    for kind in (kind for name, kinds in KINDS.items() if name in options.only for kind in kinds):
        found = in_turns(arrangements, options.rounds, partial(load, kind=kind, seconds=options.seconds))
        rates = {name: statistics.median(one.rate for one in rounds) for name, rounds in found.items()}
        row(f"{kind.name}", compared(rates, lambda rate: f"{rate:,.0f}/s"))
        row("p99", [milliseconds(statistics.median(one.p99 for one in rounds)) for rounds in found.values()])
        busy = [
            [statistics.median(part) for part in zip(*(one.processor for one in rounds), strict=True)]
            for rounds in found.values()
        ]
        row("processor time of one", [microseconds(own, postgres) for own, postgres, _ in busy])
        row("of `wrk`", [f"{client:,.0f} µs" for *_, client in busy])


def print_watches(arrangements: Sequence[Store], options: argparse.Namespace) -> None:
    table("a change seen by all of", [store.name for store in arrangements])
    for watchers in options.watchers:
        found = in_turns(arrangements, options.rounds, partial(all_seen, watchers=watchers))
        row(f"{watchers:,} watchers", compared({name: statistics.median(r) for name, r in found.items()}, milliseconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, help="on the disk to measure (default: where temporary files lie)")
    parser.add_argument("--only", nargs="+", choices=[*KINDS, WATCH], default=[*KINDS, WATCH], help="what is done")
    parser.add_argument("--replicas", nargs="+", type=int, default=[1, 2, 4], help="how many (default: 1 2 4)")
    parser.add_argument("--watchers", nargs="+", type=int, default=[100, 1_000], help="how many (default: 100 1000)")
    parser.add_argument("--alone", action="store_true", help="leave SQLite and etcd out")
    parser.add_argument("--seconds", type=int, default=2, help="of one measurement (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="the median of which counts (default: 3)")
    options = parser.parse_args()
    with stores(options.directory, options.replicas, alone=options.alone) as arrangements:
        for store in arrangements:
            uvloop.run(prepare(store))
        if KINDS.keys() & set(options.only):
            print_requests(arrangements, options)
        if WATCH in options.only:
            print_watches(arrangements, options)


if __name__ == "__main__":
    main()
