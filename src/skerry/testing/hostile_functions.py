"""Functions that mean harm (`hostile_functions.js`), each with the answers that are documented for it.

For the test that they harm only themselves, and for the measurement of how much of a neighbour's time they take
(`bench/hostile.py`). An answer is a value of `x-skerry-error` (docs/reference/javascript-runtime.md), or "ok" for the
function's own.
"""

import json
from pathlib import Path
from typing import Any

from skerry.testing.manifests import edge_function

#: So soon a call that computes is stopped, so that a proof takes no longer than it must.
CPU_TIME = "100ms"
#: Longer than a busy machine stands still: what computes is told that, and not that it took long.
TIMEOUT = "10s"

_SOURCE = Path(__file__).with_suffix(".js")
_MEMORY = frozenset(("memory", "cpu-time"))
_POLLUTED = frozenset(("ok", "exception", "trap"))

#: By what they waste; by name what a client may be told.
TIME = {
    "loop": {"cpu-time"},
    "microtasks": {"cpu-time"},
    "regex": {"cpu-time"},
    "intervals": {"cpu-time", "timeout"},
    "lateLoop": {"ok", "concurrency"},
    "lateWait": {"ok", "concurrency"},
    "catches": {"cpu-time"},
}
SIZE = {
    "bytes": _MEMORY,
    "objects": _MEMORY,
    "doubling": _MEMORY | {"exception"},
    "response": _MEMORY | {"exception"},
    "responseBytes": _MEMORY | {"response-too-large"},
    "endlessResponse": _MEMORY,
    "headerNames": _MEMORY | {"bad-response"},
    "headerValue": {"bad-response"},
    "recursion": {"exception"},
    "nestedJson": _MEMORY | {"exception"},
    "promises": _MEMORY,
}
NUMBER = {
    "subrequests": {"cpu-time", "timeout"},
    "subrequestsAtOnce": _MEMORY,
    "timers": {"timers", "cpu-time"},
    "logFlood": {"cpu-time"},
    "longLogFlood": {"cpu-time"},
    "randomness": {"cpu-time"},
    "keys": {"cpu-time", "timeout"},
}
POLLUTION = dict.fromkeys(
    (
        *("objectPrototype", "arrayPrototype", "promiseThen", "promiseStatics", "responsePrototype", "stringPrototype"),
        *("typedArrays", "json", "mapPrototype", "errorPrototype", "globalThis", "fakeResponse", "proxyResponse"),
        *("thrownProxy", "thrownNullPrototype", "thrownErrorThatThrows", "thrownUndefined", "thenable"),
        "headerGetters",
    ),
    _POLLUTED,
)
ALL = TIME | SIZE | NUMBER | POLLUTION

#: Where no function may get to, however it is spelled.
FORBIDDEN_PLACES = (
    *("127.0.0.1", "127.1", "2130706433", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "localhost", "LOCALHOST.", "0"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "0.0.0.0"),  # noqa: S104 - not bound
    *("169.254.169.254", "2852039166", "[fe80::1]", "[fd00::1]", "10.0.0.1", "172.16.0.1", "192.168.0.1"),
    *("100.64.0.1", "224.0.0.1", "255.255.255.255"),
)


def hostile_function(name: str, which: str | None = None, *, isolation: str = "instance") -> str:
    """Return an object for `kubectl apply`: a hostile function, or without `which` the one that the path names."""
    env = {"HOSTILE": which} if which else {}
    document: dict[str, Any] = json.loads(edge_function(name, _SOURCE.read_text(), env=env, timeout=TIMEOUT))
    runtime = {"limits": {"cpuTime": CPU_TIME, "concurrency": 4}, "isolation": isolation}
    document["spec"]["template"]["runtime"] |= runtime
    return json.dumps(document)
