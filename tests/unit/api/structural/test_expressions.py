"""Rules in the Common Expression Language: refused where they can't be kept, else kept."""

from typing import Any

import pytest

from skerry.api.structural.expressions import expression_errors, rule_errors
from skerry.api.structural.schema import MISSING, compiled


def broken(schema: dict[str, Any], value: Any, old: Any = MISSING) -> list[str]:
    return [str(error) for error in expression_errors(compiled(schema), value, old)]


def ruled(rule: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
            "x-kubernetes-validations": [{"rule": rule, **more}]}  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("self.min <= self.max", {"min": 1, "max": 2}),
        ("self.l.all(x, x.startsWith('a')) && size(self.l) == 2", {"l": ["a", "ab"]}),
        ("!has(self.x) || self.x > 1", {}),
        ("self.l.map(x, x * 2).sum() == 6", {"l": [1, 2]}),
        ("self.l.isSorted() && self.l.max() == 3", {"l": [1, 2, 3]}),
        ("self.s.lowerAscii().split('-').join('+') == 'a+b'", {"s": "A-B"}),
        ("self.s.find('[0-9]+') == '12'", {"s": "a12b"}),
        ("'k' in self.m && self.m.exists(k, self.m[k] == 1)", {"m": {"k": 1}}),
    ],
)
def test_a_rule_that_holds_passes(rule: str, value: Any):
    assert [str(e) for e in rule_errors([{"rule": rule}], "v")] == []
    assert broken(ruled(rule), value) == []
    assert broken(ruled(f"!({rule})"), value) == [f': Invalid value: "object": failed rule: !({rule})']


def test_a_broken_rule_is_told_as_it_asks_for():
    schema = {"type": "object", "properties": {
        "spec": ruled("self.a < 5", message="too large", reason="FieldValueForbidden", fieldPath=".a")}}  # fmt: skip
    assert broken(schema, {"spec": {"a": 9}}) == ["spec.a: Forbidden: too large"]
    schema = {"type": "object", "properties": {
        "spec": ruled("self.a < 5", messageExpression="'it is ' + string(self.a)")}}  # fmt: skip
    assert broken(schema, {"spec": {"a": 9}}) == ['spec: Invalid value: "object": it is 9']


def test_rules_about_changes_run_on_updates_alone():
    rule = {"rule": "self == oldSelf", "message": "immutable"}
    schema = {"type": "object", "properties": {"a": {"type": "string", "x-kubernetes-validations": [rule]}}}
    assert broken(schema, {"a": "x"}) == []
    assert broken(schema, {"a": "x"}, {"a": "x"}) == []
    assert broken(schema, {"a": "y"}, {"a": "x"}) == ['a: Invalid value: "y": immutable']
    optional = ruled("oldSelf.hasValue() || self.a == 1", optionalOldSelf=True)
    assert broken(optional, {"a": 1}) == []
    assert len(broken(optional, {"a": 2})) == 1
    assert broken(optional, {"a": 2}, {"a": 1}) == []


def test_fields_are_escaped_and_typed():
    schema: dict[str, Any] = {"type": "object", "properties": {
        "namespace": {"type": "string"}, "x-y": {"type": "number"}, "until": {"type": "string", "format": "date-time"},
        "every": {"type": "string", "format": "duration"},
    }}  # fmt: skip
    schema["x-kubernetes-validations"] = [{"rule": "self.__namespace__ == 'a' && self.x__dash__y < 1.5 && "
        "self.until > timestamp('2020-01-01T00:00:00Z') && self.every < duration('1h')"}]  # fmt: skip
    value = {"namespace": "a", "x-y": 1, "until": "2021-01-01T00:00:00Z", "every": "5m"}
    assert broken(schema, value) == []
    assert len(broken(schema, {**value, "every": "2h"})) == 1


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("", "Required value: rule is not specified"),
        ("self.a =", "compilation failed: Failed to parse"),
        ("self.url.isURL()", "compilation failed: not supported here: isURL; supported are bytes, "),
        ("sets.contains(self.a, [1])", "compilation failed: not supported here: sets"),
        ("1 == 1", "the rule looks at neither self nor oldSelf"),
        ("self.a.all(b, self.a.all(c, self.a.all(d, self.a.all(e, true))))", "nested deeper than 3 levels"),
        ("self." + "a" * 5000, "the rule is longer than 4096 characters"),
    ],
)
def test_a_rule_that_can_not_be_kept_is_refused(rule: str, told: str):
    [error] = rule_errors([{"rule": rule}], "v")
    assert error.path == "v[0].rule"
    assert told in error.message


def test_a_rule_that_stumbles_refuses_the_object():
    [told] = broken(ruled("self.missing > 1"), {})
    assert told.startswith(': Invalid value: "object": rule evaluation error: ')


def test_a_rule_that_would_take_too_long_refuses_the_object():
    value = {"l": list(range(2000))}
    [told] = broken(ruled("self.l.all(x, self.l.all(y, x != y || x == y))"), value)
    assert "rule costs too much for an object of this size (4000000 steps, limit 500000)" in told
    assert broken(ruled("self.l.all(x, x >= 0)"), value) == []
    assert len(broken(ruled("self.s.replace('a', self.s).size() > 0"), {"s": "a" * 10_000})) == 1


def items_ruled(*rules: str) -> dict[str, Any]:
    items = {"type": "integer", "x-kubernetes-validations": [{"rule": rule} for rule in rules]}
    return {"type": "object", "properties": {"l": {"type": "array", "items": items}}}


def test_rules_that_take_too_long_together_refuse_the_object():
    schema = items_ruled(*(f"self != {number}" for number in range(-100, 0)))
    assert broken(schema, {"l": list(range(1_000))}) == []
    [told] = broken(schema, {"l": list(range(3_000))})
    assert told.endswith("the rules of its schema cost too much for an object of this size (limit 1000000 steps)")
    assert told.startswith("l[")


def test_of_an_object_that_breaks_thousands_of_rules_the_first_hundred_are_told():
    assert len(broken(items_ruled("self < 0"), {"l": list(range(5_000))})) == 100
