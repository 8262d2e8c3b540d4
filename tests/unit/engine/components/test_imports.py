"""Components written by hand, whose imports are answered by host functions of these tests."""

import re
from pathlib import Path
from typing import Any

import pytest
from wasmtime import wat2wasm
from wasmtime.component import Component

from skerry.engine.compiled import new_engine
from skerry.engine.components import wasi
from skerry.engine.components.calls import Export
from skerry.engine.components.function_component import FunctionComponent
from skerry.engine.components.guest import RESOURCES_MAX, Guest, GuestEndedError
from skerry.engine.components.imports import BoundImports, HostFunction, Interface
from skerry.engine.components.values import Err, Ok
from skerry.engine.errors import CallError, FailureKind, LoadError
from skerry.engine.instances import Surroundings
from skerry.engine.manifest import FunctionManifest

MANIFEST = FunctionManifest(revision="f-1", function="f", artifact=Path("/x"))
VERSIONS = re.compile(r"1\.\d+\.\d+")
LIBC = """(core module $libc (memory (export "memory") 40)
  (global $next (mut i32) (i32.const 8192))
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))"""


def passing(value_type: str, words: int) -> str:
    """Return a component that hands what it is given to the host, and returns what that gives."""
    given = " ".join(["i32"] * words)
    gets = " ".join(f"(local.get {index})" for index in range(words))
    return f"""(component (import "t:t/host@1.4.0" (instance $host
        (export "pass" (func (param "it" {value_type}) (result {value_type})))))
      {LIBC}
      (core func $pass (canon lower (func $host "pass") (memory $memory) (realloc $realloc)))
      (core module $m
        (import "host" "pass" (func $pass (param {given} i32)))
        (func (export "pass") (param {given}) (result i32) (call $pass {gets} (i32.const 16)) (i32.const 16)))
      (core instance $i (instantiate $m (with "host" (instance (export "pass" (func $pass))))))
      (func $passes (param "it" {value_type}) (result {value_type})
        (canon lift (core func $i "pass") (memory $memory) (realloc $realloc)))
      (instance $api (export "pass" (func $passes))) (export "t:t/api" (instance $api)))"""


def called(wat: str, functions: dict[str, HostFunction], *arguments: object) -> Any:
    engine = new_engine(epochs=True)
    component = Component(engine, bytes(wat2wasm(wat)))
    imports = BoundImports(engine, component, {"t:t/host": Interface(VERSIONS, functions)})
    export = Export(engine, component, "t:t/api", next(iter(functions)), numbers=imports.number_of)
    guest = Guest(engine, MANIFEST, Surroundings(log=lambda *_: None))
    guest.enter(None, 5)
    return export.bind(guest, imports.instantiate(guest))(*arguments)


@pytest.mark.parametrize(
    ("value_type", "words", "value"),
    [
        ("string", 2, "grüß dich"),
        ("(list u8)", 2, bytes(range(256)) * 300),
        ("(list u8)", 2, b""),
        ("(list (tuple string (list u8)))", 2, [("a", b"1"), ("", b"")]),
        ("(tuple u16 s8 bool)", 3, (65_535, -128, True)),
        ("(option string)", 3, None),
        ("(option string)", 3, "some"),
        ("(result string (error u32))", 3, Ok("fine")),
        ("(result string (error u32))", 3, Err(7)),
    ],
)
def test_a_value_is_the_same_on_the_other_side(value_type: str, words: int, value: object):
    seen = []

    def take(_guest: Guest, it: object) -> object:
        seen.append(it)
        return it

    assert called(passing(value_type, words), {"pass": take}, value) == value
    assert seen == [value]


CALLING = """(component (import "t:t/host@1.4.0" (instance $host (export "call" (func))))
  (core func $call (canon lower (func $host "call")))
  (core module $m (import "host" "call" (func $call)) (func (export "call") (call $call)))
  (core instance $i (instantiate $m (with "host" (instance (export "call" (func $call))))))
  (func $calls (canon lift (core func $i "call")))
  (instance $api (export "call" (func $calls))) (export "t:t/api" (instance $api)))"""


def test_an_exception_of_a_host_function_ends_the_call_and_nothing_else():
    def fail(_guest: Guest) -> None:
        raise ZeroDivisionError("by zero")

    with pytest.raises(CallError, match="by zero") as raised:
        called(CALLING, {"call": fail})
    assert raised.value.kind is FailureKind.TRAP


def test_a_host_function_says_how_a_call_ends():
    def end(_guest: Guest) -> None:
        raise GuestEndedError(CallError(FailureKind.EXCEPTION, "enough"))

    with pytest.raises(CallError, match="enough") as raised:
        called(CALLING, {"call": end})
    assert raised.value.kind is FailureKind.EXCEPTION


HOARDING = """(component (import "t:t/host@1.0.9" (instance $host
    (export "thing" (type $thing (sub resource))) (export "take" (func (result (own $thing))))))
  (core func $take (canon lower (func $host "take")))
  (core module $m (import "host" "take" (func $take (result i32)))
    (func (export "take") (loop $more (drop (call $take)) (br $more))))
  (core instance $i (instantiate $m (with "host" (instance (export "take" (func $take))))))
  (func $takes (canon lift (core func $i "take")))
  (instance $api (export "take" (func $takes))) (export "t:t/api" (instance $api)))"""


def test_the_resources_of_a_guest_are_bounded():
    with pytest.raises(CallError, match=f"{RESOURCES_MAX} streams, bodies and other resources"):
        called(HOARDING, {"take": lambda _guest: object()})


@pytest.mark.parametrize(
    ("imported", "named"),
    [
        ('(import "t:t/host@2.0.0" (instance))', "t:t/host@2.0.0"),
        ('(import "t:t/host" (instance))', "t:t/host"),
        ('(import "acme:db/rows@1.0.0" (instance))', "acme:db/rows@1.0.0"),
        ('(import "t:t/host@1.0.0" (instance (export "more" (func))))', "t:t/host@1.0.0 more"),
        ('(import "run" (func))', "run"),
    ],
)
def test_what_is_not_offered_is_named(imported: str, named: str):
    engine = new_engine(epochs=True)
    component = Component(engine, bytes(wat2wasm(f"(component {imported})")))
    with pytest.raises(LoadError, match=re.escape(f"imports what is not offered here: {named}")):
        BoundImports(engine, component, {"t:t/host": Interface(VERSIONS, {"pass": lambda *_: None})})


HANDING_OVER = """(component (import "t:t/host@1.4.0" (instance $host (export "take" (func (param "it" (list u8))))))
  (core module $libc (memory (export "memory") 1024)) (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $take (canon lower (func $host "take") (memory $memory)))
  (core module $m (import "host" "take" (func $take (param i32 i32)))
    (func (export "take") (call $take (i32.const 0) (i32.const 50000000))))
  (core instance $i (instantiate $m (with "host" (instance (export "take" (func $take))))))
  (func $takes (canon lift (core func $i "take")))
  (instance $api (export "take" (func $takes))) (export "t:t/api" (instance $api)))"""


def test_what_a_guest_hands_over_in_one_call_is_bounded():
    taken = []
    with pytest.raises(CallError, match="handed more over in one call than the host takes"):
        called(HANDING_OVER, {"take": lambda _guest, it: taken.append(it)})
    assert not taken


@pytest.mark.parametrize("version", ["0.2.0", "0.2.6", "0.2.99"])
def test_any_patch_of_wasi_is_offered(version: str):
    engine = new_engine(epochs=True)
    wat = f'(component (import "wasi:cli/environment@{version}" (instance (export "get-arguments" (func)))))'
    BoundImports(engine, Component(engine, bytes(wat2wasm(wat))), wasi.OFFER)


@pytest.mark.parametrize("version", ["0.3.0", "0.2.0-rc-2023-11-10", "1.0.0"])
def test_another_version_of_wasi_is_named(version: str):
    engine = new_engine(epochs=True)
    component = Component(engine, bytes(wat2wasm(f'(component (import "wasi:cli/environment@{version}" (instance)))')))
    with pytest.raises(LoadError, match=f"not offered here: wasi:cli/environment@{version}"):
        BoundImports(engine, component, wasi.OFFER)


def test_an_interface_without_one_of_its_functions_is_refused():
    engine = new_engine(epochs=True)
    wat = '(component (instance $e) (export "skerry:function/filtering@0.1.0" (instance $e)))'
    with pytest.raises(LoadError, match="without a function 'on-request'"):
        FunctionComponent(engine, Component(engine, bytes(wat2wasm(wat))), ["skerry:function/filtering@0.1.0"])


@pytest.mark.parametrize("interface", ["skerry:function/handler@0.1.0", "skerry:function/filtering@0.1.0"])
def test_a_function_of_another_signature_is_refused_with_what_is_accepted(interface: str):
    names = ("handle",) if "handler" in interface else ("on-request", "on-response")
    exports = " ".join(f'(export "{name}" (func $f))' for name in names)
    wat = f"""(component
      (core module $m (func (export "f") (param i32) (result i32) i32.const 7))
      (core instance $i (instantiate $m))
      (func $f (param "a" u32) (result u32) (canon lift (core func $i "f")))
      (instance $e {exports}) (export "{interface}" (instance $e)))"""
    engine = new_engine(epochs=True)
    refusal = rf"#{names[0]} as \(u32\) -> u32; accepted is \(record {{method: string"
    with pytest.raises(LoadError, match=refusal):
        FunctionComponent(engine, Component(engine, bytes(wat2wasm(wat))), [interface])
