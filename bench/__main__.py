"""Every measurement, one after the other: `make bench`. Each also runs alone; its docstring says how."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PARTS = (
    ("functions.py",),
    ("worker.py", "--envoy", "--seconds", "2"),
    ("wasm.py",),
    ("deploy.py",),
    ("develop.py",),
    ("hostile.py", "--seconds", "0.5"),
    ("plugins.py",),
    ("filters.py",),
    ("runs.py",),
    ("api.py",),
    ("store.py",),
    ("moving.py",),
    ("replicas.py",),
    ("nodes.py",),
    ("node_memory.py",),
    ("growth.py", "--most", "10000"),
    ("sealing.py",),
    ("authorization.py",),
    ("binding.py",),
)


def main() -> int:
    """Run the parts; return how many failed."""
    if not (HERE / "node_modules" / "workerd").exists():
        subprocess.run(["npm", "ci", "--prefix", str(HERE), "--no-audit", "--no-fund"], check=True)
    failed = 0
    for name, *flags in PARTS:
        print(f"\n==> bench/{name}", flush=True)
        failed += subprocess.run([sys.executable, str(HERE / name), *flags], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
