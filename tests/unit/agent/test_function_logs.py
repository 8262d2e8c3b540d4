"""Logs end with their function, and not at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skerry.agent.function_logs import FunctionLogFiles
from skerry.agent.idle import GRACE_SECONDS
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.model import from_document
from skerry.engine.function_logs import list_logs
from skerry.testing.clock import FakeClock


def function(name: str, uid: str) -> EdgeFunction:
    source = {"entrypoint": "i.js", "assets": {"files": [{"path": "i.js", "content": "x"}]}}
    return from_document(
        EdgeFunction,
        {
            "apiVersion": "extensions.apoxy.dev/v1alpha2",
            "kind": "EdgeFunction",
            "metadata": {"name": name, "uid": uid},
            "spec": {"template": {"mode": "backend", "code": {"jsSource": source}}},
        },
    )


async def test_a_log_outlives_its_function_by_the_grace_and_no_more(tmp_path: Path):
    for file in ("f.1.log", "f.1.log.1", "f.2.log", "g.3.log"):
        (tmp_path / file).touch()
    clock = FakeClock()
    with ThreadPoolExecutor(1) as executor:
        files = FunctionLogFiles(tmp_path, clock, executor)
        await files.remove_idle([function("f", "2"), function("g", "3")])
        clock.advance(GRACE_SECONDS - 1)
        await files.remove_idle([function("f", "2"), function("g", "3")])
        assert list_logs(tmp_path) == {"f.1", "f.2", "g.3"}
        clock.advance(1)
        await files.remove_idle([function("f", "2")])
        assert {path.name for path in tmp_path.iterdir()} == {"f.2.log", "g.3.log"}  # noqa: ASYNC240 - a test may block
