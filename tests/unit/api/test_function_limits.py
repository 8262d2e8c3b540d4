import pytest
from pydantic import ValidationError

from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION, EdgeFunction
from skerry.api.function_limits import (
    MIB,
    MOST,
    EdgeFunctionLimits,
    FunctionLimits,
    kinds_within,
    limits_of,
    validate_limits,
)
from skerry.api.function_template import ENV_BYTES_MAX, EnvVar
from skerry.api.model import from_document

NAMES = ("memory", "cpuTime", "requestBody", "responseBody", "subrequests", "concurrency")


def function(limits: dict[str, object]) -> EdgeFunction:
    source = {"entrypoint": "i.js", "assets": {"files": [{"path": "i.js", "content": "x"}]}}
    template = {"mode": "backend", "code": {"jsSource": source}, "runtime": {"limits": limits}}
    return from_document(
        EdgeFunction,
        {
            "apiVersion": EDGE_FUNCTION.api_version,
            "kind": "EdgeFunction",
            "metadata": {"name": "f"},
            "spec": {"template": template},
        },
    )


def test_what_is_not_given_has_its_default_and_what_is_given_counts():
    assert limits_of(None) == FunctionLimits()
    given = EdgeFunctionLimits(memory="64Mi", cpu_time="50ms", subrequests=0)
    assert limits_of(given) == FunctionLimits(memory_bytes=64 * MIB, cpu_seconds=0.05, subrequests=0)


def test_every_wrong_limit_is_named_at_once():
    wrong = EdgeFunctionLimits(
        memory="1Mi", cpu_time="fast", request_body="-1", response_body="1.5", subrequests=-1, concurrency=0
    )
    errors = list(validate_limits(wrong, "limits"))
    assert [error.path for error in errors] == [f"limits.{name}" for name in NAMES]
    assert "must be at least 32Mi" in errors[0].message
    assert "must be a duration" in errors[1].message


def test_more_than_an_installation_allows_is_refused_with_the_setting_that_says_so():
    (kind,) = kinds_within([EDGE_FUNCTION], MOST)
    limits = {
        "memory": "1Gi",
        "cpuTime": "1h",
        "requestBody": "1Gi",
        "responseBody": "1Gi",
        "subrequests": 10_001,
        "concurrency": 65,
    }
    errors = list(kind.validate(function(limits), None))
    assert [error.path for error in errors] == [f"spec.template.runtime.limits.{name}" for name in NAMES]
    assert "must be at most 512Mi here (setting function_memory_bytes_max)" in errors[0].message
    assert not list(kind.validate(function({"memory": "512Mi", "concurrency": 64}), None))
    assert len(list(kind.validate(function({"memory": "much"}), None))) == 1


def test_limits_within_a_maximum_are_no_more_than_it():
    assert FunctionLimits(concurrency=100, subrequests=1).within(MOST) == FunctionLimits(concurrency=64, subrequests=1)


@pytest.mark.parametrize("isolation", ["request", "instance"])
def test_isolation_is_told_with_its_default(isolation: str):
    given = function({})
    assert given.spec.template.isolation == "instance"
    assert given.spec.template.runtime is not None
    given.spec.template.runtime.isolation = isolation  # type: ignore[assignment]
    assert given.spec.template.isolation == isolation


def test_an_environment_is_bounded_in_bytes():
    given = function({})
    given.spec.template.env = [EnvVar(name="A", value="é" * (ENV_BYTES_MAX // 2 - 1))]
    assert not list(EDGE_FUNCTION.validate(given, None))
    given.spec.template.env.append(EnvVar(name="B", value="x"))
    (error,) = EDGE_FUNCTION.validate(given, None)
    assert (error.path, error.reason) == ("spec.template.env", "FieldValueTooLong")


def test_a_size_may_be_a_number_and_nothing_else_but_text():
    limits = function({"memory": 128 * MIB, "requestBody": 2e6}).spec.template.runtime.limits  # type: ignore[union-attr]
    assert limits is not None
    assert limits.memory == str(128 * MIB)
    assert limits_of(limits).request_body_bytes == 2_000_000
    with pytest.raises(ValidationError, match=r"limits\.memory\n.*valid string"):
        function({"memory": True})
