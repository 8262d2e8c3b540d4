"""deploy/compose: three replicas with options that they know, behind an Envoy that takes its configuration."""

import shlex
import subprocess
from typing import Any

import yaml

from skerry.gateway.envoy import find_envoy
from skerry.testing.deployed import DEPLOY, require_command, require_settings

FILE = DEPLOY / "compose" / "compose.yaml"
ENVOY = DEPLOY / "compose" / "envoy.yaml"
REPLICAS = ("skerry-1", "skerry-2", "skerry-3")


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return document


def test_every_replica_starts_with_options_and_settings_that_it_knows():
    for name in REPLICAS:
        replica = compose()["services"][name]
        words = shlex.split(" ".join(replica["command"]))
        require_command(words[words.index("skerry") + 1 :] if "entrypoint" in replica else words)
        assert require_settings(replica["environment"]).api_address.port == 6443
        program, *check = replica["healthcheck"]["test"][1:]
        assert program == "skerry"
        require_command(check)


def test_every_replica_has_data_of_its_own_and_keys_of_the_first():
    volumes = {name: compose()["services"][name]["volumes"] for name in REPLICAS}
    for name in REPLICAS:
        assert f"{name}:/var/lib/skerry" in volumes[name]
        assert ("skerry-1:/identity:ro" in volumes[name]) == (name != "skerry-1")


def test_what_services_refer_to_exists():
    document = compose()
    for name, service in document["services"].items():
        assert set(service.get("depends_on", {})) <= set(document["services"]), name
        named = {volume.split(":")[0] for volume in service["volumes"] if volume[0] not in "./"}
        assert named <= set(document["volumes"]), name
        mounted = [volume.split(":")[0] for volume in service["volumes"] if volume[0] == "."]
        assert all((FILE.parent / path).is_file() for path in mounted), name
    build = document["services"]["skerry-1"]["build"]
    assert (FILE.parent / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Containerfile"


def test_envoy_takes_its_configuration():
    verdict = subprocess.run(
        [find_envoy(), "--mode", "validate", "--config-path", ENVOY], capture_output=True, text=True, check=False
    )
    assert verdict.returncode == 0, verdict.stderr


def test_envoy_balances_over_every_replica():
    [cluster] = yaml.safe_load(ENVOY.read_text())["static_resources"]["clusters"]
    [group] = cluster["load_assignment"]["endpoints"]
    addresses = [entry["endpoint"]["address"]["socket_address"] for entry in group["lb_endpoints"]]
    assert [(address["address"], address["port_value"]) for address in addresses] == [(n, 6443) for n in REPLICAS]
