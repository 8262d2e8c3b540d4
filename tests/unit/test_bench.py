"""bench/: what would make a figure mean something else than it says."""

import ast
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench"
MODULES = sorted(BENCH.glob("[a-z]*.py"))


def test_what_is_measured_is_the_installed_command_and_no_fork_of_the_tests():
    starting = {
        path.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "SkerryProcess.started"
    }
    assert starting <= {"rig.py"}, (
        "use `rig.skerry`: forks share memory, and `--against` would compare a tree with itself"
    )


def test_make_bench_runs_every_measurement():
    run = (BENCH / "__main__.py").read_text()
    alone = [path.name for path in MODULES if 'if __name__ == "__main__":' in path.read_text()]
    left_out = [name for name in alone if f'("{name}"' not in run]
    assert not left_out, f"{', '.join(left_out)}: name it in PARTS of bench/__main__.py"
