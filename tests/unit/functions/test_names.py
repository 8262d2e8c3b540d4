"""The library has every part of Dispatch's package, by Python's names."""

import subprocess
import sys

import pytest

import skerry.functions

#: What `pkg/functions` declares; `Runner` and `DockerImageBuilder` are made by calling them.
PARTS = (
    *("Context", "DockerImageBuilder", "Exec", "FaaSDriver", "FnRun", "Function", "FunctionError", "FunctionExecution"),
    *("ImageBuilder", "Message", "Middleware", "Runnable", "Runner", "Schema", "Schemas", "SecretInjector"),
    *("ServiceInjector", "UserError", "Validator", "LOGS_KEY", "EVENT_KEY", "HTTP_CONTEXT_KEY"),
)


@pytest.mark.parametrize("name", PARTS)
def test_each_part_has_a_counterpart(name: str) -> None:
    assert name in skerry.functions.__all__
    assert getattr(skerry.functions, name) is not None


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = skerry.functions.Nothing


def test_who_builds_no_container_images_does_not_load_what_builds_them() -> None:
    code = "import sys, skerry.functions; sys.exit('docker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
