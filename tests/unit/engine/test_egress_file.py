import ipaddress
from pathlib import Path

import pytest

from skerry.engine import egress_file
from skerry.engine.egress import EgressPolicy, EgressRule
from skerry.engine.egress_file import EgressPolicies, WrittenPolicy, read_policies, write_policies
from skerry.kit.addresses import Address

LOOPBACK = EgressRule((ipaddress.ip_network("127.0.0.0/8"),), ports=frozenset({80}))
BAD = EgressRule(hosts=frozenset({"bad.test"}))


def nobody(_: Address) -> bool:
    return False


def reaches(policy: EgressPolicy, host: str, address: str) -> bool:
    return policy.allows(host, ipaddress.ip_address(address), 80, nobody)


@pytest.fixture(autouse=True)
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_file, "LOOK_SECONDS", 0.0)


def test_what_was_written_is_read(tmp_path: Path):
    policies = [
        WrittenPolicy(None, (LOOPBACK,), (BAD,), is_closed=True),
        WrittenPolicy(frozenset({"a", "b"}), (), (), is_closed=False),
    ]
    write_policies(tmp_path / "egress.json", policies)
    assert read_policies(tmp_path / "egress.json") == policies


def test_policies_of_a_function_add_up_and_others_are_none_of_its_business(tmp_path: Path):
    path = tmp_path / "egress.json"
    opens = WrittenPolicy(frozenset({"a"}), (LOOPBACK,), (), is_closed=False)
    denies = WrittenPolicy(None, (), (BAD,), is_closed=False)
    closes = WrittenPolicy(frozenset({"b"}), (), (), is_closed=True)
    write_policies(path, [opens, denies, closes])
    policies = EgressPolicies(EgressPolicy.parse(["10.0.0.0/8"]), path)
    assert reaches(policies.of("a"), "a.test", "127.0.0.1")
    assert not reaches(policies.of("c"), "a.test", "127.0.0.1")
    assert reaches(policies.of("a"), "a.test", "1.1.1.1")
    assert not reaches(policies.of("a"), "bad.test", "1.1.1.1")
    assert not reaches(policies.of("b"), "a.test", "1.1.1.1")
    assert all(reaches(policies.of(name), "a.test", "10.0.0.1") for name in "abc")  # what the node allows
    assert policies.of("c") is policies.of("d")


def test_a_change_is_seen_and_a_missing_file_means_no_policies(tmp_path: Path):
    path = tmp_path / "egress.json"
    policies = EgressPolicies(EgressPolicy(), path)
    assert reaches(policies.of("a"), "a.test", "1.1.1.1")
    write_policies(path, [WrittenPolicy(None, (), (), is_closed=True)])
    assert not reaches(policies.of("a"), "a.test", "1.1.1.1")
    assert policies.of("a") is policies.of("a")
    path.unlink()
    assert reaches(policies.of("a"), "a.test", "1.1.1.1")


def test_what_can_not_be_read_denies_everything_until_it_can(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "egress.json"
    path.write_text('[{"functions": 7}]')
    policies = EgressPolicies(EgressPolicy.parse(["127.0.0.1"]), path)
    assert not reaches(policies.of("a"), "a.test", "1.1.1.1")
    assert not reaches(policies.of("a"), "127.0.0.1", "127.0.0.1")
    assert "functions fetch nothing" in capsys.readouterr().err
    write_policies(path, [])
    assert reaches(policies.of("a"), "127.0.0.1", "127.0.0.1")


def test_policies_that_a_worker_would_not_read_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "egress.json"
    write_policies(path, [])
    monkeypatch.setattr(egress_file, "FILE_BYTES_MAX", 100)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        write_policies(path, [WrittenPolicy(None, (LOOPBACK,) * 50, (), is_closed=False)])
    assert read_policies(path) == []
