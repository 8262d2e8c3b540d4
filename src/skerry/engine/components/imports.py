"""A component's imports, answered by host functions in Python.

What is offered is data: interfaces by name, with their functions by name. A component may ask for any version of an
interface that is compatible with the one that is offered; how its values cross follows from the types that it declares
itself. Whatever it imports beyond the offer is reported at once, by name.

Host functions get the guest and the values, and may raise: the guest's call ends then. wasmtime-py's own way keeps a
raised exception in one global for all threads; so the callbacks are ours.
"""

import ctypes
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wasmtime import Engine as WasmEngine
from wasmtime import _ffi as ffi
from wasmtime.component import Component, Instance, Linker, LinkerInstance, ResourceType
from wasmtime.component import _types as types

from skerry.engine.components.guest import Guest, GuestEndedError, present_guest
from skerry.engine.components.structures import VALUE_BYTES
from skerry.engine.components.values import Converter, CrossingError, Err, compile_type
from skerry.engine.errors import CallError, FailureKind, LoadError

HostFunction = Callable[..., Any]

#: Imports that are named in the report of those that are not offered.
_NAMED_MAX = 10

_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_void_p,
    *(ctypes.c_void_p,) * 4,
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_size_t,
)
_DESTRUCTOR = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
_add_function = ffi.dll["wasmtime_component_linker_instance_add_func"]
_add_function.restype = ctypes.c_void_p
_add_function.argtypes = [
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    _CALLBACK,
    ctypes.c_void_p,
    ctypes.c_void_p,
]
_add_resource = ffi.dll["wasmtime_component_linker_instance_add_resource"]
_add_resource.restype = ctypes.c_void_p
_add_resource.argtypes = [
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
    _DESTRUCTOR,
    ctypes.c_void_p,
    ctypes.c_void_p,
]
_new_error = ffi.dll["wasmtime_error_new"]
_new_error.restype = ctypes.c_void_p
_new_error.argtypes = [ctypes.c_char_p]


@dataclass(frozen=True, slots=True)
class Interface:
    """What is offered of one interface.

    Attributes:
        versions: matches the versions that fit.
        functions: by name, as the component model spells it: `[method]fields.get`.
        refusal: the case of `error-code` that every other function of it answers with; None: they are not offered.
    """

    versions: re.Pattern[str]
    functions: Mapping[str, HostFunction] = field(default_factory=dict)
    refusal: str | None = None


Offer = Mapping[str, Interface]


class BoundImports:
    """A component's imports, bound; makes instances of it.

    Args:
        engine: the component's.
        component: compiled.
        offer: by the interface's name without a version.

    Raises:
        LoadError: it imports what is not offered.
    """

    def __init__(self, engine: WasmEngine, component: Component, offer: Offer) -> None:
        self._component = component
        self._offer = offer
        self._resources: list[Any] = []  # types; the number of one is its place
        self._callbacks: list[Any] = []  # called for as long as the linker lives
        self._missing: list[str] = []
        self._linker = Linker(engine)
        interfaces = self._read(engine)
        with self._linker.root() as root:
            for name, exports in interfaces.items():
                with root.add_instance(name) as instance:
                    self._define(name, instance, exports)
        if self._missing:
            raise LoadError(_not_offered(self._missing))
        self.number_of = self._number_of

    def instantiate(self, guest: Guest) -> Instance:
        """Make an instance in a guest's store; raises WasmtimeError."""
        return self._linker.instantiate(guest.store, self._component)

    def _read(self, engine: WasmEngine) -> dict[str, dict[str, Any]]:
        """Return what each import has, with the types; those that are not offered are `_missing`."""
        interfaces: dict[str, dict[str, Any]] = {}
        for name, extern in self._component.type.imports(engine).items():
            base, _, version = name.partition("@")
            offered = self._offer.get(base)
            declared = extern.ty
            if offered is None or not offered.versions.fullmatch(version):
                self._missing.append(name)
            elif isinstance(declared, types.ComponentInstanceType):
                exports = {part: each.ty for part, each in declared.exports(engine).items()}
                interfaces[name] = exports
                for each in exports.values():
                    if isinstance(each, ResourceType) and each not in self._resources:
                        self._resources.append(each)
            else:
                self._missing.append(name)
        return interfaces

    def _number_of(self, resource: Any) -> int:
        if resource not in self._resources:
            raise CrossingError("a resource is not the host's")
        return self._resources.index(resource)

    def _define(self, interface: str, instance: LinkerInstance, exports: dict[str, Any]) -> None:
        offered = self._offer[interface.partition("@")[0]]
        for name, declared in exports.items():
            if isinstance(declared, ResourceType):
                self._define_resource(instance, name, declared)
            elif isinstance(declared, types.FuncType):
                function = offered.functions.get(name) or _refusing(offered, declared)
                if function is None:
                    self._missing.append(f"{interface} {name}")
                else:
                    self._define_function(instance, name, declared, function)

    def _define_resource(self, instance: LinkerInstance, name: str, declared: ResourceType) -> None:
        kept = ResourceType.host(self._number_of(declared))
        callback = _DESTRUCTOR(_drop)
        self._callbacks += (callback, kept)
        spelled = name.encode()
        _check(_add_resource(_address(instance), spelled, len(spelled), _address(kept), callback, None, None))

    def _define_function(self, instance: LinkerInstance, name: str, declared: Any, function: HostFunction) -> None:
        try:
            parameters = [compile_type(each, self._number_of) for _, each in declared.params]
            result = declared.result
            converter = compile_type(result, self._number_of) if result is not None else None
        except CrossingError as error:
            raise LoadError(
                f"the function's binary imports {name!r} with a signature that can't be: {error}"
            ) from error
        callback = _CALLBACK(_callback(function, parameters, converter))
        self._callbacks.append(callback)
        spelled = name.encode()
        _check(_add_function(_address(instance), spelled, len(spelled), callback, None, None))


def _callback(function: HostFunction, parameters: list[Converter], result: Converter | None) -> Callable[..., Any]:
    lifts = [(each.lift, index * VALUE_BYTES) for index, each in enumerate(parameters)]
    size = len(parameters) * VALUE_BYTES

    def call(_data: int, _context: int, _type: int, given_at: int, _given: int, result_at: int, _results: int) -> Any:
        guest = present_guest()
        table = guest.resources
        try:
            raw = ctypes.string_at(given_at, size) if size else b""
            answer = function(guest, *[lift(raw, at, table) for lift, at in lifts])
            if result is not None:
                ctypes.memmove(result_at, result.lower(answer, table), VALUE_BYTES)
        except GuestEndedError as end:
            if end.failure is None:
                guest.has_exited = True
            else:
                guest.time.stop(end.failure)
            return _new_error(b"the host ends the call")
        except Exception as error:  # noqa: BLE001 - the edge to foreign code: the call ends, the worker does not
            message = f"the host refused what the function asked: {error}"
            guest.time.stop(CallError(FailureKind.TRAP, message))
            return _new_error(b"the host refused the call")
        return None

    return call


def _drop(_data: int, _context: int, number: int) -> None:
    guest = present_guest()
    try:
        drop = getattr(guest.resources.remove(number), "drop", None)
        if drop is not None:
            drop()
    except Exception as error:  # noqa: BLE001 - as in `_callback`
        guest.time.stop(CallError(FailureKind.TRAP, f"a resource could not be dropped: {error!r}"))


def _refusing(offered: Interface, declared: Any) -> HostFunction | None:
    """Return what answers a function of an interface that is there to be linked and has nothing to give."""
    if offered.refusal is None:
        return None
    code = offered.refusal
    if isinstance(declared.result, types.ResultType):
        return lambda _guest, *_: Err(code)
    return _nothing_there


def _nothing_there(_guest: Guest, *_: object) -> None:
    raise GuestEndedError(CallError(FailureKind.TRAP, "the function has no files and no sockets"))


def _not_offered(missing: list[str]) -> str:
    named = ", ".join(missing[:_NAMED_MAX])
    more = f" and {len(missing) - _NAMED_MAX} more" if len(missing) > _NAMED_MAX else ""
    return f"the function's binary is a component that imports what is not offered here: {named}{more}"


def _address(thing: Any) -> Any:
    return ctypes.cast(thing.ptr(), ctypes.c_void_p)


def _check(error: int | None) -> None:
    if error:
        raise LoadError("the function's binary has imports that can't be linked")
