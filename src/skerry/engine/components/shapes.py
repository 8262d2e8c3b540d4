"""Types of functions in words, as WIT spells them but without names of types: what is compared before a call."""

from collections.abc import Callable, Mapping
from typing import Any

from wasmtime.component import _types as types


def shape_of(function: types.FuncType) -> str:
    """Return `(parameters) -> result` of a function whose values can cross (`values.compile_type`)."""
    parameters = ", ".join([_shape(declared) for _, declared in function.params])
    return f"({parameters}) -> {_shape(function.result)}"


def _shape(declared: Any) -> str:
    kind = type(declared)
    if kind in _COMPOUND:
        return _COMPOUND[kind](declared)
    return "_" if declared is None else kind.__name__.removesuffix("Type").lower()


def _parts(parts: Any) -> str:
    return ", ".join([f"{name}: {_shape(part)}" for name, part in parts])


_COMPOUND: Mapping[type, Callable[[Any], str]] = {
    types.ListType: lambda declared: f"list<{_shape(declared.element)}>",
    types.TupleType: lambda declared: f"tuple<{', '.join([_shape(part) for part in declared.elements])}>",
    types.RecordType: lambda declared: f"record {{{_parts(declared.fields)}}}",
    types.VariantType: lambda declared: f"variant {{{_parts(declared.cases)}}}",
    types.OptionType: lambda declared: f"option<{_shape(declared.payload)}>",
    types.ResultType: lambda declared: f"result<{_shape(declared.ok)}, {_shape(declared.err)}>",
}
