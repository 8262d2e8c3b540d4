"""Signals that follow others: what they tell, and that nothing is kept of those that nobody waits for."""

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.engine.conftest import Loaded, Loader

#: Calls, each with ten megabytes of garbage, until what can be collected must have been.
COLLECTED_AFTER_CALLS = 60

FOLLOWERS = """
const forever = new AbortController();
const made = [], heard = [];
const make = {
  unheard: () => AbortSignal.any([forever.signal, new AbortController().signal]),
  following: () => AbortSignal.any([make.unheard(), new AbortController().signal]),
  heard() { make.unheard().addEventListener("abort", (event) => heard.push(event.target.reason)); },
  handled() { make.unheard().onabort = (event) => heard.push(event.target.reason); },
  heardFollowing() { make.following().addEventListener("abort", (event) => heard.push(event.target.reason)); },
  left() {
    const signal = make.unheard(), listener = () => heard.push("left");
    signal.addEventListener("abort", listener);
    signal.addEventListener("abort", listener);
    signal.removeEventListener("abort", listener);
    signal.onabort = listener;
    signal.onabort = null;
    return signal;
  },
};
return {default: {fetch(request) {
  const what = new URL(request.url).pathname.slice(1);
  if (what === "abort") forever.abort("why");
  else for (let i = 0; i < 10; i++) {
    const signal = make[what]();
    if (signal) made.push(new WeakRef(signal));
    new Uint8Array(1_000_000).fill(1);
  }
  return Response.json({made: made.length, there: made.filter((each) => each.deref()).length, heard});
}}};
"""


@pytest.fixture
def followers(load: "Loader") -> "Loaded":
    return load.module(FOLLOWERS)


def told(function: "Loaded", what: str) -> Any:
    return json.loads(function.call("GET", f"https://f.test/{what}").body)


@pytest.mark.parametrize("what", ["unheard", "following", "left"])
def test_a_signal_that_nobody_listens_to_is_not_kept_by_what_it_follows(followers: "Loaded", what: str):
    for _ in range(COLLECTED_AFTER_CALLS):
        seen = told(followers, what)
    assert seen["there"] < seen["made"] / 2


@pytest.mark.parametrize("what", ["heard", "handled", "heardFollowing"])
def test_a_signal_that_somebody_listens_to_is_heard_however_late(followers: "Loaded", what: str):
    told(followers, what)
    for _ in range(COLLECTED_AFTER_CALLS):
        told(followers, "unheard")
    assert told(followers, "abort")["heard"] == ["why"] * 10


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("AbortSignal.any([]).aborted", False),
        (
            "[AbortSignal.any([a.signal]) instanceof AbortSignal, AbortSignal.any([stopped, a.signal]).reason]",
            [True, 1],
        ),
        ("(() => { const s = any([any([a.signal]), b.signal]); a.abort(2); b.abort(3); return s.reason })()", 2),
        ("(() => { const s = any([a.signal, a.signal]); a.abort(2); return [s.aborted, s.reason] })()", [True, 2]),
        (
            (
                "(() => { const n = [], s = any([a.signal, b.signal]); s.onabort = () => n.push(1);"
                " s.addEventListener('abort', {handleEvent: () => n.push(2)}, {once: true});"
                " a.abort(); b.abort(); return n })()"
            ),
            [1, 2],
        ),
        ("(() => { const s = any([a.signal]); s.onabort = 5; return s.onabort })()", None),
        ("(() => { try { any([{}]) } catch (e) { return e.name } })()", "TypeError"),
    ],
)
def test_a_signal_of_others_is_as_the_standard_has_it(load: "Loader", expression: str, value: object):
    function = load.handler(
        f"""const a = new AbortController(), b = new AbortController(), stopped = AbortSignal.abort(1);
            const any = (signals) => AbortSignal.any(signals);
            return Response.json({expression});"""
    )
    assert json.loads(function.call().body) == value
