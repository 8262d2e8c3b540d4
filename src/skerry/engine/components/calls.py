"""Calls of a component's exports, with the values of `values`."""

import ctypes
from typing import Any, Self

from wasmtime import Engine as WasmEngine
from wasmtime import WasmtimeError
from wasmtime import _ffi as ffi
from wasmtime.component import Component, ExportIndex, Instance
from wasmtime.component import _types as types

from skerry.engine.components.guest import Guest
from skerry.engine.components.shapes import shape_of
from skerry.engine.components.structures import VALUE_BYTES
from skerry.engine.components.values import CrossingError, ResourceNumbers, compile_type
from skerry.engine.errors import CallError, FailureKind, LoadError

_call = ffi.dll["wasmtime_component_func_call"]
_call.restype = ctypes.c_void_p
_call.argtypes = [
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_size_t,
]
_delete = ffi.dll["wasmtime_component_val_delete"]
_delete.restype = None
_delete.argtypes = [ctypes.c_void_p]

#: Of a signature in its refusal: a component may declare types of any length.
_SHAPE_CHARACTERS_MAX = 500


class Export:
    """A function of an interface that a component exports.

    Args:
        engine: the component's.
        component: compiled.
        interface: its full name.
        name: of the function.
        numbers: of the host's resource types.

    Raises:
        LoadError: there is no such function, or its values can't cross.
    """

    def __init__(
        self, engine: WasmEngine, component: Component, interface: str, name: str, *, numbers: ResourceNumbers
    ) -> None:
        outer = component.get_export_index(interface)
        index = component.get_export_index(name, outer) if outer is not None else None
        instance = component.type.exports(engine)[interface].ty
        exported = instance.exports(engine) if isinstance(instance, types.ComponentInstanceType) else {}
        function = exported[name].ty if name in exported else None
        if index is None or not isinstance(function, types.FuncType):
            raise LoadError(f"the function's binary exports {interface} without a function {name!r}")
        self._index: ExportIndex = index
        self.signature = f"{interface}#{name}"
        try:
            self._parameters = [compile_type(each, numbers) for _, each in function.params]
            self._result = compile_type(function.result, numbers) if function.result is not None else None
        except CrossingError as error:
            raise LoadError(f"the function's binary exports {self.signature} with another signature") from error
        self._shape = shape_of(function)

    def require(self, shape: str) -> Self:
        """Return it; raises LoadError where it has not this shape (`shapes.shape_of`), which calls rely on."""
        if self._shape != shape:
            found = self._shape[:_SHAPE_CHARACTERS_MAX]
            raise LoadError(f"the function's binary exports {self.signature} as {found}; accepted is {shape}")
        return self

    def bind(self, guest: Guest, instance: Instance) -> "ExportedFunction":
        """Return the function of an instance."""
        function = instance.get_func(guest.store, self._index)
        if function is None:
            raise LoadError(f"the function's binary exports no function {self.signature}")
        return ExportedFunction(self, guest, function)

    def call(self, guest: Guest, function_at: int, arguments: tuple[object, ...]) -> Any:
        """Call a function of this type; raises CallError."""
        table = guest.resources
        given = b"".join([part.lower(value, table) for part, value in zip(self._parameters, arguments, strict=True)])
        parameters = ctypes.create_string_buffer(given, max(len(given), 1))
        result = ctypes.create_string_buffer(VALUE_BYTES)
        error = _call(
            function_at, table.context_at, parameters, len(self._parameters), result, 0 if self._result is None else 1
        )
        for at in range(0, len(given), VALUE_BYTES):
            _delete(ctypes.addressof(parameters) + at)
        if error:
            raise _failure(guest, error)
        if self._result is None:
            return None
        try:
            return self._result.lift(result.raw, 0, table)
        finally:
            _delete(result)


class ExportedFunction:
    """A function of one instance."""

    def __init__(self, export: Export, guest: Guest, function: Any) -> None:
        self._export = export
        self._guest = guest
        self._function = function  # keeps what is at the address
        self._function_at = ctypes.addressof(function._func)  # noqa: SLF001 - the public call path is what this replaces

    def __call__(self, *arguments: object) -> Any:
        """Call; raises CallError."""
        return self._export.call(self._guest, self._function_at, arguments)


#: What wasmtime says of a list that would take too much of the host.
_HANDED_OVER = "fuel allocated for hostcalls"


class ExitedError(Exception):
    """The guest ended its program, and that was no failure."""


def _failure(guest: Guest, error_at: int) -> Exception:
    error = WasmtimeError._from_ptr(ctypes.cast(error_at, ctypes.POINTER(ffi.wasmtime_error_t)))  # noqa: SLF001 - wasmtime-py's own way to wrap a pointer, which then frees it
    if guest.has_exited:
        return ExitedError()
    if stopped := guest.time.take_stopped():
        return stopped
    text = str(error)
    if _HANDED_OVER in text:
        return CallError(
            FailureKind.TRAP, "the function handed more over in one call than the host takes (128 MiB of values)"
        )
    first = text.strip().splitlines()[-1].strip()
    return CallError(FailureKind.TRAP, f"the function's code trapped: {first}", stack=text)
