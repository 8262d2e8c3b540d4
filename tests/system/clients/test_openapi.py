"""Our OpenAPI documents against our server: schemathesis sends what they allow, and what they do not.

No answer is a 500, and every answer is one that the document tells of: its code, its content type, its schema.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from skerry.api.registry import KINDS
from skerry.testing.api_server import ApiServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(0)]

ROOTS = sorted({kind.root_path for kind in KINDS})
CHECKS: Any = [status_code_conformance, content_type_conformance, response_schema_conformance]
DEFAULT: Any = settings.default
#: Of one operation; `make fuzz` raises the default that it is a part of.
EXAMPLES = max(1, DEFAULT.max_examples // 33)
BOUNDED = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
)


@pytest.fixture
def session(server: ApiServer) -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.verify = str(server.authority)
        opened.trust_env = False
        opened.headers["authorization"] = f"Bearer {server.token}"
        yield opened


@pytest.fixture
def things(server: ApiServer, session: requests.Session, function: dict[str, Any]) -> None:
    """Objects named `thing`, so that not every answer is that there is none."""
    function["metadata"]["name"] = "thing"
    plain = {"metadata": {"name": "thing"}}
    for path, document in (
        ("/api/v1/namespaces/default/configmaps", plain),
        ("/api/v1/namespaces/default/secrets", plain),
        ("/api/v1/namespaces", plain),
        ("/apis/extensions.apoxy.dev/v1alpha2/edgefunctions", function),
    ):
        assert session.post(server.at.url + path, json=document).status_code == 201


@pytest.mark.usefixtures("things")
@pytest.mark.parametrize("root", ROOTS)
def test_no_answer_is_outside_of_the_document(root: str, server: ApiServer, session: requests.Session) -> None:
    document = session.get(f"{server.at.url}/openapi/v3{root}").json()
    schema = schemathesis.openapi.from_dict(document)
    results: Any = schema.get_all_operations()
    for result in results:
        operation = result.ok()  # raises what is wrong with the document itself
        cases = st.one_of(
            [
                operation.as_strategy(generation_mode=mode, path_parameters=path)
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
                for path in (None, {"namespace": "default", "name": "thing"})
                if mode is GenerationMode.POSITIVE or path is None
            ]
        )

        @BOUNDED
        @given(case=cases)
        def holds(case: Any) -> None:
            if case.query:
                case.query.pop("watch", None)  # a stream of events, without end
            answer = case.call(base_url=server.at.url, session=session, verify=session.verify)
            assert answer.status_code != 500, answer.text
            case.validate_response(answer, checks=CHECKS)

        holds()


def test_the_documents_name_every_route_that_kinds_have(server: ApiServer, session: requests.Session) -> None:
    for root in ROOTS:
        paths = session.get(f"{server.at.url}/openapi/v3{root}").json()["paths"]
        wanted = {kind.path("{namespace}") for kind in KINDS if kind.root_path == root}
        assert wanted <= set(paths), json.dumps(sorted(wanted - set(paths)))
