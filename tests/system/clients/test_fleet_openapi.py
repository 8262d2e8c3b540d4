"""The description of the fleet's routes against a running control plane: schemathesis sends what it allows, and not.

No answer is a 500, and every answer is one that the description tells of: its code, its content type, its schema.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from skerry.testing.skerry_process import SkerryProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(0)]

CHECKS: Any = [status_code_conformance, content_type_conformance, response_schema_conformance]
DEFAULT: Any = settings.default
#: Of one operation; `make fuzz` raises the default that it is a part of.
EXAMPLES = max(1, DEFAULT.max_examples // 50)
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES < 10,  # the same few examples each time; it is `make fuzz` that looks for others
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
SERVICE = {"name": "web", "image": "nginx"}
VOLUME = {"name": "v", "config": {"name": "thing"}}
#: What there is, so that not every answer is that there is none.
THING = {"name": "thing", "record": "thing"}
THINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/nodes", {"name": "thing"}),
    ("/v1/configs", {"name": "thing", "data": [{"key": "a", "value": {"type": "kv", "value": "1"}}]}),
    ("/v1/apps", {"name": "thing", "selector": "site", "services": [SERVICE], "volumes": [VOLUME]}),
    ("/v1/register", {"name": "thing", "enableWhitelist": 0}),
    ("/v1/register/thing/record", {"fingerprintValue": "thing"}),
)


@pytest.fixture(scope="module")
def skerry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SkerryProcess]:
    """A control plane alone."""
    with SkerryProcess.started(tmp_path_factory.mktemp("fleet") / "data", command="serve") as running:
        yield running


@pytest.fixture
def session(skerry: SkerryProcess) -> Iterator[requests.Session]:
    kubeconfig = yaml.safe_load((skerry.data_dir / "kubeconfig").read_text())
    with requests.Session() as opened:
        opened.verify = str(skerry.data_dir / "pki" / "ca.crt")
        opened.trust_env = False
        opened.headers["authorization"] = f"Bearer {kubeconfig['users'][0]['user']['token']}"
        yield opened


#: Of nodes, which show their certificates; not those that go on for as long as there is something to tell.
OF_NODES = ("/v1/sync/report", "/v1/sync/desire", "/v1/sync/certificate", "/v1/slice/statuses")


def no_answer_is_outside(skerry: SkerryProcess, session: requests.Session, *paths: str) -> None:
    """Send what the description allows, and what not, to some of its paths, or to all."""
    schema = schemathesis.openapi.from_dict(session.get(f"{skerry.api}/v1/fleet/openapi.json").json())
    results: Any = schema.get_all_operations()
    operations = [result.ok() for result in results]  # raises what is wrong with the document itself
    for operation in (each for each in operations if not paths or each.path in paths):
        cases = st.one_of(
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE, path_parameters=THING),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        )

        @BOUNDED
        @given(case=cases)
        def holds(case: Any) -> None:
            answer = case.call(base_url=skerry.api, session=session, verify=session.verify)
            assert answer.status_code != 500, answer.text
            case.validate_response(answer, checks=CHECKS)

        holds()


def test_no_answer_is_outside_of_the_description(skerry: SkerryProcess, session: requests.Session) -> None:
    for path, body in THINGS:
        assert session.post(skerry.api + path, json=body).status_code == 200
    no_answer_is_outside(skerry, session)


def test_no_answer_to_a_node_is_outside_of_the_description(
    skerry: SkerryProcess, session: requests.Session, tmp_path: Path
) -> None:
    assert session.post(f"{skerry.api}/v1/nodes", json={"name": "fuzzed"}).status_code == 200
    command = session.get(f"{skerry.api}/v1/nodes/fuzzed/init").json()["cmd"]
    token = command.split("token=")[1].split("'")[0]
    told = session.get(f"{skerry.api}/v1/init/agent.json", params={"token": token}).json()
    shown = tmp_path / "client.pem"
    shown.write_text(told["node"]["certificate"]["cert"] + told["node"]["certificate"]["key"])
    with requests.Session() as node:
        node.verify, node.cert, node.trust_env = session.verify, str(shown), False
        assert node.post(f"{skerry.api}/v1/sync/certificate").status_code == 200  # it is known by its certificate
        no_answer_is_outside(skerry, node, *OF_NODES)
