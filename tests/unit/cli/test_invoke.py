import pytest

from skerry.cli.invoke import require_live
from skerry.kit.errors import SkerryError


def function(**status: object) -> dict[str, object]:
    return {"metadata": {"name": "hello"}, "status": status}


def test_a_function_without_a_live_revision_is_told_with_its_own_reason() -> None:
    ready = {"type": "Ready", "status": "False", "message": "revision hello-9d failed: index.js:1:1: no brace"}
    with pytest.raises(SkerryError, match=r"hello has no live revision: .*index\.js:1:1: no brace"):
        require_live(function(conditions=[ready]))
    with pytest.raises(SkerryError, match="nothing is told of it yet"):
        require_live(function())


def test_a_function_that_an_older_revision_serves_can_be_asked() -> None:
    require_live(function(liveRevision="hello-45", conditions=[{"type": "Ready", "message": "the latest failed"}]))
