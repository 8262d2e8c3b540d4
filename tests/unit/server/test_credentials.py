"""The administrator's credential and the kubeconfig that carries it."""

import stat
from pathlib import Path

import pytest
import yaml

from skerry.kit.errors import StartError
from skerry.server.auth import ADMINISTRATORS, AUTHENTICATED, Credentials, StaticTokens, User
from skerry.server.credentials import Administrator, open_administrator, write_kubeconfig


def opened(directory: Path) -> Administrator:
    return open_administrator(directory / "pki" / "tokens.json", directory / "kubeconfig")


async def user_of(tokens: StaticTokens, token: str) -> User | None:
    return await tokens.authenticate(Credentials(bearer=token))


def write(directory: Path, token: str, url: str = "https://127.0.0.1:1") -> None:
    write_kubeconfig(directory / "kubeconfig", url=url, authority_pem=b"pem", token=token)


async def test_the_first_start_makes_a_token_and_keeps_its_digest_only(tmp_path: Path) -> None:
    administrator = opened(tmp_path)
    kept = tmp_path / "pki" / "tokens.json"
    assert administrator.token not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    user = await user_of(administrator.tokens, administrator.token)
    assert user == User("admin", groups=(ADMINISTRATORS, AUTHENTICATED))
    assert await user_of(administrator.tokens, administrator.token + "x") is None


def test_later_starts_keep_the_token(tmp_path: Path) -> None:
    first = opened(tmp_path)
    write(tmp_path, first.token)
    assert opened(tmp_path).token == first.token


@pytest.mark.parametrize("damage", [None, "", "[]", "users: 5", "a: [", "users: [{user: {token: other}}]"])
async def test_a_lost_or_foreign_kubeconfig_costs_a_new_token_which_replaces_the_old(
    tmp_path: Path, damage: str | None
) -> None:
    first = opened(tmp_path)
    write(tmp_path, first.token)
    if damage is None:
        (tmp_path / "kubeconfig").unlink()
    else:
        (tmp_path / "kubeconfig").write_text(damage)
    second = opened(tmp_path)
    assert second.token != first.token
    assert await user_of(second.tokens, first.token) is None
    assert await user_of(second.tokens, second.token) is not None


@pytest.mark.parametrize("damage", ["", "{", "[{}]", "5", '[{"sha256": "zz", "user": "a", "groups": []}]'])
def test_a_damaged_list_of_tokens_stops_the_start(tmp_path: Path, damage: str) -> None:
    opened(tmp_path)
    (tmp_path / "pki" / "tokens.json").write_text(damage)
    with pytest.raises(StartError, match=r"tokens.json can't be read: restore it, or remove it"):
        opened(tmp_path)


def test_the_kubeconfig_is_complete_private_and_follows_the_address(tmp_path: Path) -> None:
    write(tmp_path, "t", "https://127.0.0.1:1")
    write(tmp_path, "t", "https://127.0.0.1:2")
    path = tmp_path / "kubeconfig"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = yaml.safe_load(path.read_text())
    assert document["current-context"] == "skerry"
    assert document["clusters"][0]["cluster"] == {"server": "https://127.0.0.1:2", "certificate-authority-data": "cGVt"}
    assert document["users"][0]["user"] == {"token": "t"}
    before = path.stat().st_mtime_ns
    write(tmp_path, "t", "https://127.0.0.1:2")
    assert path.stat().st_mtime_ns == before
    assert [p.name for p in tmp_path.iterdir()] == ["kubeconfig"]


def test_a_kubeconfig_that_is_no_text_costs_a_new_token(tmp_path: Path) -> None:
    tokens, kubeconfig = tmp_path / "tokens.json", tmp_path / "kubeconfig"
    before = open_administrator(tokens, kubeconfig).token
    kubeconfig.write_bytes(b"\xff\xfe\x00")
    assert open_administrator(tokens, kubeconfig).token != before
