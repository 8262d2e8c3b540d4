"""A whole Skerry as a process of its own, for tests that drive it as its users do.

with SkerryProcess.started(data_dir) as skerry:
    skerry.kubectl("apply", "-f", "-", stdin=manifest)
    skerry.kubectl("wait", "--for=condition=Ready", "edgefunction/hello", "--timeout=60s")
    assert skerry.get("http://hello.functions.localhost/").text == "Hello"
"""

import base64
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import orjson
import yaml

from skerry.kit.tls import no_trust
from skerry.testing import forked
from skerry.testing.objects import apply, until_true
from skerry.testing.waiting import until

START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 60.0
COMMAND_SECONDS_MAX = 90.0
POLL_SECONDS = 0.02

#: Lets code be read from whatever folder a test has it in.
ANY_FILE = 'fetch_file_dirs = ["/"]\n'


class CommandFailedError(AssertionError):
    """A command ended with another exit code than expected; its output is in the message."""


@dataclass
class SkerryProcess:
    """A running `skerry up`, or `skerry serve`, on free ports."""

    data_dir: Path
    flags: tuple[str, ...] = ()
    cache_dir: Path | None = None
    command: str = "up"
    anew: bool = False
    process: "forked.ForkedProcess | subprocess.Popen[bytes] | None" = None
    api: str = ""
    http: str = ""

    @classmethod
    @contextmanager
    def started(
        cls,
        data_dir: Path,
        *flags: str,
        cache_dir: Path | None = None,
        settings: str = "",
        command: str = "up",
        anew: bool = False,
    ) -> Iterator["SkerryProcess"]:
        """Run one for the length of the block.

        Args:
            data_dir: where it keeps its data; may be one that an earlier one left.
            flags: of the command.
            cache_dir: one that is shared spares each the compiling of the engine.
            settings: its `skerry.toml`; "" leaves that as it is.
            command: up or serve.
            anew: whether it is a new program, the installed command, and no fork of one that has imported everything.
        """
        skerry = cls(data_dir, flags, cache_dir, command, anew)
        if settings:
            data_dir.mkdir(parents=True, exist_ok=True)
            (data_dir / "skerry.toml").write_text(settings)
        try:
            skerry.start()
            yield skerry
        finally:
            skerry.stop()

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir.parent / f"{self.data_dir.name}.output").open("ab") as output:
            arguments = [
                *(self.command, "--data-dir", str(self.data_dir), "--api-address", "127.0.0.1:0"),
                *(("--http-address", "127.0.0.1:0") if self.command == "up" else ()),
                *self.flags,
            ]
            start = forked.start_anew if self.anew else forked.start
            self.process = start(arguments, self._environment(), output=output)
        deadline = time.monotonic() + START_SECONDS_MAX
        note_path = self.data_dir / "run.json"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise CommandFailedError(
                    f"skerry {self.command} ended with {self.process.returncode}:\n{self.output()}"
                )
            with suppress(FileNotFoundError):  # it begins by removing what one that was killed has left
                note = orjson.loads(note_path.read_bytes())
                if note["pid"] == self.process.pid:
                    self.api, self.http = note["api"], note["http"]
                    return
            time.sleep(POLL_SECONDS)
        raise CommandFailedError(f"skerry {self.command} was not ready within {START_SECONDS_MAX} s:\n{self.output()}")

    def output(self) -> str:
        """Return what it printed, over all its lives."""
        return (self.data_dir.parent / f"{self.data_dir.name}.output").read_text()

    def until_printed(self, *texts: str) -> None:
        """Wait until it has printed a line with all of these in it."""
        try:
            until(lambda: any(all(text in line for text in texts) for line in self.output().splitlines()))
        except AssertionError as error:
            raise CommandFailedError(f"no line with {' and '.join(texts)}:\n{self.output()}") from error

    def kill(self) -> None:
        """End it with SIGKILL: no chance to tidy up."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_SECONDS_MAX)
            self.process = None

    def stop(self) -> int | None:
        """End it with SIGTERM and return its exit code; None where it did not run. Raises NotEndedError."""
        process, self.process = self.process, None
        if process is None:
            return None
        return forked.end(process, signal.SIGTERM, self.output, seconds_max=STOP_SECONDS_MAX)

    def kubectl(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        """Run the real kubectl against it; return its output, standard error included.

        Raises:
            CommandFailedError: it failed, or with `fails` it did not.
        """
        done = subprocess.run(
            ["kubectl", *arguments],  # noqa: S607 - that of the PATH, as its users run it
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            env=self._environment(),
            check=False,
        )
        return _output("kubectl", arguments, forked.Outcome(done.returncode, done.stdout, done.stderr), fails=fails)

    def apply(self, manifests: str) -> None:
        """Apply YAML documents through the API, server-side: a kubectl takes thirty times the processor time."""
        with self.api_client() as http:
            for document in yaml.safe_load_all(manifests):
                if document:
                    apply(http, document)

    def until_ready(self, *names: str, condition: str = "Ready") -> None:
        """Wait until a condition of objects of the default namespace holds; "edgefunction/hello" names one."""
        with self.api_client() as http:
            for name in names:
                until_true(http, name, condition)

    def api_client(self) -> httpx.Client:
        """Return a client of its API with the kubeconfig's credentials, for what is too often for a kubectl each."""
        return httpx.Client(**self._client_options())

    def async_api_client(self) -> httpx.AsyncClient:
        """Return the same for the event loop."""
        return httpx.AsyncClient(**self._client_options())

    def _client_options(self) -> dict[str, Any]:
        kubeconfig = yaml.safe_load((self.data_dir / "kubeconfig").read_text())
        authority = base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        token = kubeconfig["users"][0]["user"]["token"]
        return {
            "base_url": self.api,
            "verify": ssl.create_default_context(cadata=authority),
            "headers": {"authorization": f"Bearer {token}"},
            "trust_env": False,
            "timeout": COMMAND_SECONDS_MAX,
        }

    def skerry(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        """Run a `skerry` command against it; as `kubectl`."""
        outcome = forked.run(arguments, self._environment(), stdin=stdin, timeout_seconds=COMMAND_SECONDS_MAX)
        return _output("skerry", arguments, outcome, fails=fails)

    def _environment(self) -> dict[str, str]:
        home = self.data_dir.parent / "home"  # kubectl caches discovery there
        home.mkdir(exist_ok=True)
        return {
            **os.environ,  # noqa: TID251 - handed on, not read
            "HOME": str(home),
            "KUBECONFIG": str(self.data_dir / "kubeconfig"),
            "SKERRY_DATA_DIR": str(self.data_dir),
            **({"SKERRY_CACHE_DIR": str(self.cache_dir)} if self.cache_dir else {}),
        }

    def get(self, url: str, **options: Any) -> httpx.Response:
        """Send a GET through the gateway; as `request`."""
        return self.request("GET", url, **options)

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request through the gateway, whatever the URL's host resolves to; the host goes into its header."""
        parts = urlsplit(url)
        gateway = urlsplit(self.http)
        at_gateway = urlunsplit(("http", gateway.netloc, parts.path or "/", parts.query, ""))
        headers = {"Host": parts.netloc, **(options.pop("headers", None) or {})}
        with httpx.Client(trust_env=False, verify=no_trust(), timeout=30.0) as http:
            return http.request(method, at_gateway, headers=headers, **options)


def _output(program: str, arguments: Sequence[str], outcome: forked.Outcome, *, fails: bool) -> str:
    output = outcome.out + outcome.err
    if (outcome.code != 0) != fails:
        raise CommandFailedError(f"{program} {' '.join(arguments)}: exit code {outcome.code}\n{output}")
    return output
