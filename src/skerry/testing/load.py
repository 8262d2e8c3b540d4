"""`wrk`, which loads a gateway with hundreds of requests a second, and looks at every answer.

with Load.running(url, host="a.test", headers=("x-one", "x-two")) as load:
    ...
assert load.report.problems == {}
"""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CONNECTIONS = 8
#: Longer than anything that is done under load; it is ended before.
LOAD_SECONDS_MAX = 600
STOP_SECONDS_MAX = 60.0
#: An answer that takes longer is a problem; on a busy machine all may stand still for seconds.
ANSWER_SECONDS_MAX = 60

#: Counts what is wrong with an answer: another status than 200, or no header of a name. Each connection rests for 10 ms
#: between two requests, so that the load leaves the cores to what is tested: some hundred requests a second.
_SCRIPT = """
function delay() return 10 end
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args) wanted = args; problems = {} end
local function note(what) problems[what] = (problems[what] or 0) + 1 end
function response(status, headers)
  if status ~= 200 then return note("status " .. status) end
  for _, name in ipairs(wanted) do if not headers[name] then note("no " .. name) end end
end
local function tell(counts)
  for what, count in pairs(counts) do if count > 0 then io.write(count .. " " .. what .. "\\n") end end
end
function done(summary)
  io.write("\\n\\n" .. summary.requests .. " requests\\n")
  local errors = summary.errors
  tell({connect = errors.connect, read = errors.read, write = errors.write, timeout = errors.timeout})
  for _, thread in ipairs(threads) do tell(thread:get("problems")) end
end
"""


@dataclass(frozen=True)
class LoadReport:
    """What became of the requests.

    Attributes:
        requests: how many were answered.
        problems: what was wrong, and how often: connections that failed, statuses, headers that lacked.
    """

    requests: int
    problems: dict[str, int]


@dataclass
class Load:
    """A running `wrk`; it has a report once it has ended."""

    report: LoadReport = field(default_factory=lambda: LoadReport(0, {}))

    @classmethod
    @contextmanager
    def running(cls, url: str, *, host: str, headers: tuple[str, ...] = ()) -> Iterator["Load"]:
        """Load a URL for the length of the block.

        Args:
            url: what is asked for, on `CONNECTIONS` connections.
            host: the header Host.
            headers: names in lower case that every answer must have.
        """
        load = cls()
        with tempfile.TemporaryDirectory() as directory:
            script = Path(directory) / "load.lua"
            script.write_text(_SCRIPT)
            size = (f"-c{CONNECTIONS}", "-t1", f"-d{LOAD_SECONDS_MAX}s", f"--timeout={ANSWER_SECONDS_MAX}s")
            command = [_program(), *size, "-H", f"Host: {host}", "-s", str(script), url, "--", *headers]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                yield load
            finally:
                process.send_signal(signal.SIGINT)  # it ends with its report
                output, _ = process.communicate(timeout=STOP_SECONDS_MAX)
        lines = [line.split(" ", 1) for line in output.rpartition("\n\n")[2].splitlines()]
        told = {what: int(count) for count, what in lines}
        load.report = LoadReport(told.pop("requests"), told)


def _program() -> str:
    """Return the wrk beside this Python (`make setup-dev` puts one there), else the one on the PATH."""
    beside = Path(sys.executable).with_name("wrk")
    found = str(beside) if beside.exists() else shutil.which("wrk")
    if found is None:
        raise AssertionError("wrk is missing: run `make setup-dev`")
    return found
