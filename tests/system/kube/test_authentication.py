"""Who asks: every credential, with the real kubectl over TLS."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from skerry.api.authentication_v1alpha1 import TOKEN
from skerry.server.verbs.requests import ListOptions, Target

pytestmark = pytest.mark.system

LOGGED_OUT = "error: You must be logged in to the server (Unauthorized)\n"


async def test_a_token_stands_for_its_user_until_it_is_revoked(
    kubectl: Any, skerry_command: Any, tmp_path: Path
) -> None:
    path = tmp_path / "alice.kubeconfig"
    made = await skerry_command.run("token", "create", "alice", "--group", "dev", "--kubeconfig-out", str(path))
    assert made.code == 0, made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    name = made.err.split()[1]

    alice = kubectl.shown(path)
    who = (await alice.json("auth", "whoami"))["status"]["userInfo"]
    assert (who["username"], who["groups"]) == ("alice", ["dev", "system:authenticated"])
    assert 'User "alice" cannot' in await alice.fails("get", "configmaps")
    assert name in await skerry_command.ok("token", "list")

    await skerry_command.ok("token", "revoke", name)
    assert await alice.fails("get", "configmaps") == LOGGED_OUT
    assert name not in await skerry_command.ok("token", "list")


async def test_the_token_is_printed_once_and_is_not_on_the_server(
    kubectl: Any, skerry_command: Any, server: Any
) -> None:
    token = (await skerry_command.ok("token", "create", "bob", "--group", "system:masters")).strip()
    await kubectl.ok("create", "configmap", "c", f"--token={token}")
    kept = await kubectl.ok("get", "tokens", "-o", "yaml")
    assert "bob" in kept
    assert token not in kept
    secret = token.rpartition("_")[2]
    listed = await server.verbs.list(Target(TOKEN), ListOptions())
    assert all(secret not in item.json.decode() for item in listed.items)


async def test_a_token_that_has_expired_is_refused_and_changes_nothing(kubectl: Any, skerry_command: Any) -> None:
    token = (await skerry_command.ok("token", "create", "bob", "--group", "system:masters", "--expires", "0s")).strip()
    assert await kubectl.fails("create", "configmap", "c", f"--token={token}", "--validate=false") == (
        "error: failed to create configmap: Unauthorized\n"
    )
    assert await kubectl.ok("get", "configmaps", "-o", "name") == ""


async def test_acting_as_someone_else(kubectl: Any, skerry_command: Any, tmp_path: Path) -> None:
    who = await kubectl.json("auth", "whoami", "--as", "bob", "--as-group", "dev", "--as-uid", "7")
    info = who["status"]["userInfo"]
    assert (info["username"], info["uid"], info["groups"]) == ("bob", "7", ["dev", "system:authenticated"])
    assert 'User "bob" cannot list resource "configmaps"' in await kubectl.fails("get", "configmaps", "--as", "bob")

    path = tmp_path / "alice.kubeconfig"
    await skerry_command.ok("token", "create", "alice", "--kubeconfig-out", str(path))
    alice = kubectl.shown(path)
    assert 'User "alice" cannot impersonate resource "users" in API group "" at the cluster scope' in (
        await alice.fails("get", "configmaps", "--as", "admin")
    )
    granted = ("--verb=impersonate", "--resource=users", "--resource-name=bob")
    await kubectl.ok("create", "clusterrole", "as-bob", *granted)
    await kubectl.ok("create", "clusterrolebinding", "as-bob", "--clusterrole=as-bob", "--user=alice")
    assert "bob" in await alice.ok("auth", "whoami", "--as", "bob")
    assert 'cannot impersonate resource "groups"' in (
        await alice.fails("get", "configmaps", "--as", "bob", "--as-group", "system:masters")
    )


async def test_a_token_gives_no_more_than_its_maker_may_act_as(
    kubectl: Any, skerry_command: Any, tmp_path: Path
) -> None:
    path = tmp_path / "alice.kubeconfig"
    await skerry_command.ok("token", "create", "alice", "--kubeconfig-out", str(path))
    await kubectl.ok("create", "clusterrole", "tokens", "--verb=create", "--resource=tokens.authentication.skerry.dev")
    await kubectl.ok("create", "clusterrolebinding", "tokens", "--clusterrole=tokens", "--user=alice")
    alice = skerry_command.shown(path)
    assert 'User "alice" cannot impersonate resource "users"' in await alice.fails("token", "create", "bob")
    assert "bob" not in await skerry_command.ok("token", "list")


async def test_a_client_certificate_stands_for_its_user_and_groups(
    kubectl: Any, skerry_command: Any, server: Any, tmp_path: Path
) -> None:
    path, data_dir = tmp_path / "carol.kubeconfig", str(server.kubeconfig.parent)
    make = ("certificate", "create", "carol", "--data-dir", data_dir, "--kubeconfig-out", str(path))
    await skerry_command.ok(*make, "--group", "dev", "--group", "ops")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    carol = kubectl.shown(path)
    who = (await carol.json("auth", "whoami"))["status"]["userInfo"]
    assert (who["username"], who["groups"]) == ("carol", ["dev", "ops", "system:authenticated"])
    assert 'User "carol" cannot list' in await carol.fails("get", "configmaps")

    await skerry_command.ok(*make, "--expires", "0s")
    refused = await carol.fails("auth", "whoami")  # in the handshake: the connection ends without an answer
    assert any(word in refused for word in ("EOF", "reset", "broken pipe", "certificate")), refused


async def test_a_token_of_a_service_account_has_its_rights_until_the_account_is_deleted(
    kubectl: Any, tmp_path: Path
) -> None:
    await kubectl.ok("create", "namespace", "build")
    await kubectl.ok("create", "serviceaccount", "ci", "-n", "build")
    assert (await kubectl.ok("get", "sa", "ci", "-n", "build")).split()[:3] == ["NAME", "SECRETS", "AGE"]
    token = (await kubectl.ok("create", "token", "ci", "--duration", "10m", "-n", "build")).strip()
    as_ci, shows = await signed_out(kubectl, tmp_path), f"--token={token}"

    who = (await as_ci.json("auth", "whoami", shows))["status"]["userInfo"]
    assert who["username"] == "system:serviceaccount:build:ci"
    assert who["groups"] == ["system:serviceaccounts", "system:serviceaccounts:build", "system:authenticated"]
    assert who["uid"] == (await kubectl.json("get", "sa", "ci", "-n", "build"))["metadata"]["uid"]
    assert "cannot list" in await as_ci.fails("get", "configmaps", "-n", "build", shows)
    await kubectl.ok("create", "rolebinding", "ci", "--clusterrole=view", "--serviceaccount=build:ci", "-n", "build")
    assert await as_ci.ok("get", "configmaps", "-n", "build", shows) == ""
    assert "cannot list" in await as_ci.fails("get", "configmaps", shows)

    await kubectl.ok("delete", "serviceaccount", "ci", "-n", "build")
    assert await as_ci.fails("get", "configmaps", "-n", "build", shows) == LOGGED_OUT
    await kubectl.ok("create", "serviceaccount", "ci", "-n", "build")
    assert await as_ci.fails("get", "configmaps", "-n", "build", shows) == LOGGED_OUT


async def test_a_token_that_would_be_too_short_or_of_nobody_is_refused(kubectl: Any) -> None:
    await kubectl.ok("create", "serviceaccount", "ci")
    assert "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes" in (
        await kubectl.fails("create", "token", "ci", "--duration", "1m")
    )
    assert 'serviceaccounts "nobody" not found' in await kubectl.fails("create", "token", "nobody")
    long = await kubectl.run("create", "token", "ci", "--duration", "48h")
    assert "requested expiration of 172800 seconds shortened to 86400 seconds" in long.err


async def test_a_review_tells_whom_a_token_stands_for_and_for_which_audience(
    kubectl: Any, server: Any, tmp_path: Path
) -> None:
    await kubectl.ok("create", "serviceaccount", "ci")
    token = (await kubectl.ok("create", "token", "ci", "--audience", "vault")).strip()

    async def review(**spec: Any) -> Any:
        stdin = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec})
        return json.loads(await kubectl.ok("create", "-f", "-", "-o", "json", stdin=stdin))["status"]

    found = await review(token=token, audiences=["vault", "other"])
    assert (found["authenticated"], found["audiences"]) == (True, ["vault"])
    assert found["user"]["username"] == "system:serviceaccount:default:ci"
    assert not (await review(token=token))["authenticated"]
    assert (await review(token=server.token))["user"]["username"] == "admin"
    elsewhere = await signed_out(kubectl, tmp_path)
    assert "Unauthorized" in await elsewhere.fails("auth", "whoami", f"--token={token}")


async def test_who_may_edit_a_namespace_makes_tokens_there_and_nowhere_else(kubectl: Any) -> None:
    await kubectl.ok("create", "rolebinding", "alice", "--clusterrole=edit", "--user=alice")
    await kubectl.ok("create", "serviceaccount", "ci", "--as", "alice")
    assert await kubectl.ok("create", "token", "ci", "--as", "alice")
    assert 'cannot create resource "serviceaccounts/token"' in (
        await kubectl.fails("create", "token", "ci", "-n", "kube-system", "--as", "alice")
    )


async def signed_out(kubectl: Any, tmp_path: Path) -> Any:
    """Return kubectl without a credential, for a `--token` to be all that it shows."""
    config = await kubectl.json("config", "view", "--raw")
    config["users"][0]["user"] = {}
    path = tmp_path / "signed-out.kubeconfig"
    path.write_text(json.dumps(config))
    return kubectl.shown(path)
