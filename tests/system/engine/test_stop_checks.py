"""What js-engine/stop_checks.mjs makes of a module: its loops end when they are told to, and its growth can be seen."""

import shutil
import subprocess
from pathlib import Path

import pytest
from wasmtime import Engine, Instance, Module, Store, Trap, wat2wasm

from skerry.engine.calls import exported_function, exported_memory
from skerry.engine.interruption import PAGES_WORD_AT, STOP_WORD_AT

SCRIPT = Path(__file__).resolve().parents[3] / "js-engine" / "stop_checks.mjs"
REWRITE = f"""
import {{ readFileSync, writeSync }} from "node:fs";
const {{ withStopChecks }} = await import({SCRIPT.as_uri()!r});
writeSync(1, withStopChecks(readFileSync(0)));
"""


def rewritten(wat: str) -> "subprocess.CompletedProcess[bytes]":
    node = shutil.which("node")
    assert node is not None, "these tests need Node on PATH: run `make setup`"
    arguments = [node, "--input-type=module", "-e", REWRITE]
    return subprocess.run(arguments, input=bytes(wat2wasm(wat)), capture_output=True, check=False, timeout=120)


def test_loops_trap_while_the_word_is_set_and_growth_is_noted():
    done = rewritten(
        """(module
          (memory (export "memory") 1)
          (func (export "count") (param $n i32) (param i32) (result i32)
            (block $none (br_table $none $none (local.get $n)))
            (loop $again (result i32)
              (local.set $n (i32.sub (local.get $n) (i32.const 1)))
              (br_if $again (i32.gt_s (local.get $n) (i32.const 0)))
              (local.get $n)))
          (func (export "grow") (result i32) (memory.grow (i32.const 2))))"""
    )
    assert done.returncode == 0, done.stderr.decode()
    engine = Engine()
    store = Store(engine)
    instance = Instance(store, Module(engine, done.stdout), [])
    memory = exported_memory(store, instance)
    stop_word, pages_word = memory.words(STOP_WORD_AT, 1), memory.words(PAGES_WORD_AT, 1)
    count = exported_function(store, instance, "count", 2)
    assert count(5, 0) == 0
    assert exported_function(store, instance, "grow", 0)() == 1
    assert pages_word[0] == 3
    stop_word[0] = 1
    with pytest.raises(Trap, match="unreachable"):
        count(5, 0)


def test_an_instruction_whose_length_is_not_known_is_refused():
    done = rewritten("(module (func $f return_call $f))")
    assert done.returncode != 0
    assert b"an instruction that is not known here: 0x12" in done.stderr
