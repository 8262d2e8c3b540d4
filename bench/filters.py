"""What functions in mode filter cost a request: none, one, two, and what they look at, side by side in one run.

    .venv/bin/python bench/filters.py [--seconds 4] [--rounds 3]

A whole `skerry up`; Envoy itself answers (a DirectResponse), so that nothing but the filters differs. The rounds
alternate between the routes, so that a busy machine hurts all alike: read the ratios.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rig import Measured, Target, skerry, wrk

from skerry.testing.manifests import edge_function

HOST = "filters.test"
BODY = "x" * 10_000

FUNCTIONS = {
    "passes": "export default { fetch() {} };",
    "sets": 'export default { fetch(request) { request.headers.set("x-user", "ali"); } };',
    "reads": "export default { async fetch(request) { await request.text(); } };",
    "answers": 'export default { fetch() { return new Response("no", { status: 200 }); } };',
    "sees": 'export default { fetch() {}, response(response) { response.headers.set("x-seen", "1"); } };',
}
#: Path, filters of its rule, and what is printed of it.
ROUTES: tuple[tuple[str, list[str], str], ...] = (
    ("none", [], "no filter"),
    ("one", ["passes"], "one that lets pass"),
    ("two", ["passes", "passes"], "two that let pass"),
    ("set", ["sets"], "one that sets a header"),
    ("answer", ["answers"], "one that answers"),
    ("see", ["sees"], "one with a response hook"),
    ("read", ["reads"], "one that reads 10 kB (POST)"),
)


def manifests() -> list[dict[str, Any]]:
    answer = {"apiVersion": "extensions.apoxy.dev/v1alpha2", "kind": "DirectResponse", "metadata": {"name": "fixed"}}
    found: list[dict[str, Any]] = [answer | {"spec": {"statusCode": 200, "body": {"type": "Inline", "inline": "ok"}}}]
    for name, source in FUNCTIONS.items():
        function = json.loads(edge_function(name, source))
        function["spec"]["template"]["mode"] = "filter"
        found.append(function)
    rules = []
    for path, filters, _ in ROUTES:
        named = [("EdgeFunction", name) for name in filters] + [("DirectResponse", "fixed")]
        steps = [
            {"type": "ExtensionRef", "extensionRef": {"group": "extensions.apoxy.dev", "kind": kind, "name": name}}
            for kind, name in named
        ]
        rules.append({"matches": [{"path": {"value": f"/{path}"}}], "filters": steps})
    spec = {"parentRefs": [{"name": "default"}], "hostnames": [HOST], "rules": rules}
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "filters"}}
    return [*found, route | {"spec": spec}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="skerry-filters-") as folder:
        directory = Path(folder)
        script = directory / "post.lua"
        script.write_text(f'wrk.method = "POST"\nwrk.body = "{BODY}"\n')
        with skerry(directory / "data") as running:
            for manifest in manifests():
                running.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
            names = [f"edgefunction/{name}" for name in FUNCTIONS]
            running.kubectl("wait", "--for=condition=Ready", *names, "--timeout=60s")
            base = f"http://{urlsplit(running.http).netloc}"
            found: dict[str, list[Measured]] = {path: [] for path, *_ in ROUTES}
            for _ in range(options.rounds):
                for path, *_more in ROUTES:
                    target = Target(0, f"Host: {HOST}", url=f"{base}/{path}")
                    found[path].append(wrk(target, options.seconds, script=script if path == "read" else None))
    first = statistics.median(each.rate for each in found["none"])
    print("| | requests/s | of none | p50 | p99 |\n|---|---|---|---|---|")
    for path, _, told in ROUTES:
        rate, p50, p99 = (
            statistics.median(getattr(each, field) for each in found[path]) for field in ("rate", "p50", "p99")
        )
        print(f"| {told} | {rate:,.0f} | {rate / first:.2f} | {p50:.2f} ms | {p99:.2f} ms |")


if __name__ == "__main__":
    main()
