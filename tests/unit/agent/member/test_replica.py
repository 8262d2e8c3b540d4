"""What a node takes over of what its control plane tells."""

from pathlib import Path
from typing import Any

import pytest

from skerry.agent.member.errors import LinkError
from skerry.agent.member.replica import APPS, Replica

WEB = {"name": "web", "version": "1"}


def test_a_control_plane_that_writes_no_applications_as_null_wants_none(tmp_path: Path) -> None:
    replica = Replica(tmp_path)
    replica.take({APPS: [WEB]})
    assert replica.take({APPS: None})
    assert replica.wanted(APPS) == {}


@pytest.mark.parametrize(
    "told", [5, "web", {"web": "1"}, ["web"], [{"name": "..", "version": "1"}], [WEB | {"name": "a\n"}]]
)
def test_what_names_no_applications_is_refused_and_changes_nothing(tmp_path: Path, told: Any) -> None:
    replica = Replica(tmp_path)
    replica.take({APPS: [WEB]})
    with pytest.raises(LinkError, match="applications? by"):
        replica.take({APPS: told})
    assert replica.wanted(APPS) == {"web": "1"}
