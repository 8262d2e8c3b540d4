"""Objects with very many errors: the beginning is told, in an answer of bounded size."""

from typing import Any

import pytest

from skerry.api.core_v1 import CONFIG_MAP
from skerry.api.decoding import complete, decode
from skerry.api.errors import FIELD_ERRORS_MAX, Invalid
from skerry.api.rbac_v1 import ROLE_BINDING


def refused(kind: Any, **members: Any) -> list[dict[str, str]]:
    with pytest.raises(Invalid) as raised:
        complete(kind, decode(kind, {"metadata": {"name": "x"}} | members).object, None)
    causes: list[dict[str, str]] = raised.value.details["causes"]
    return causes


def test_of_very_many_wrong_fields_those_of_the_beginning_are_told_and_how_many_there_are() -> None:
    total, *told = refused(CONFIG_MAP, data={str(number): 1 for number in range(20_000)})
    assert "20000 fields are wrong" in total["message"]
    assert (told[0]["field"], told[0]["reason"], len(told)) == ("data.0", "FieldValueTypeInvalid", 50)


def test_of_very_many_unknown_fields_those_of_the_beginning_are_told_as_errors() -> None:
    total, *told = refused(CONFIG_MAP, **{f"x{number}": 1 for number in range(20_000)})
    assert "20000 fields are wrong or not known" in total["message"]
    assert told[0]["field"] == "x0"


def test_a_deep_object_of_very_many_wrong_fields_is_told_of_as_well() -> None:
    subjects: list[Any] = [{}] * 20_000
    total, *told = refused(ROLE_BINDING, subjects=subjects, roleRef={"x": 1})
    assert "fields are wrong" in total["message"]
    assert "subjects[0].name" in {cause["field"] for cause in told}


def test_of_very_many_broken_rules_the_first_are_told() -> None:
    causes = refused(CONFIG_MAP, data={f"/{number}": "" for number in range(5_000)})
    assert len(causes) == FIELD_ERRORS_MAX + 1
    assert causes[-1]["message"] == "further errors are not told"


@pytest.mark.parametrize("name", ["ownerReferences", "finalizers", "managedFields"])
def test_lists_of_metadata_are_bounded(name: str) -> None:
    [cause] = refused(CONFIG_MAP, metadata={"name": "x", name: [{}] * 1_001})
    assert (cause["field"], cause["reason"]) == (f"metadata.{name}", "FieldValueTooMany")
