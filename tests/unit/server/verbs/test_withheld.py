"""Passwords of functions are taken and never given back; an update that brings none keeps the one of the same image."""

import base64
import json
from typing import Any

import pytest

from skerry.api.errors import Invalid
from skerry.server.auth import User
from skerry.server.verbs.patches.json_patch import json_patch
from skerry.server.verbs.patches.merge_patch import merge_patch
from skerry.server.verbs.requests import WriteOptions
from skerry.server.verbs.withheld import LAST_APPLIED, told

SOMEONE = WriteOptions(user=User("someone"))
PASSWORD = "a-canary"
STORED = base64.b64encode(base64.b64encode(PASSWORD.encode())).decode()
CREDENTIALS = "/spec/template/code/goPluginSource/oci/credentials"


def function(repo: str = "registry.test/plugin", **credentials: str) -> dict[str, Any]:
    oci = {"repo": repo, "credentials": {"username": "me", **credentials}}
    spec = {"template": {"mode": "filter", "code": {"goPluginSource": {"oci": oci}}}}
    return {"metadata": {"name": "f", "annotations": {}}, "spec": spec}


def password_in(document: Any) -> Any:
    return document["spec"]["template"]["code"]["goPluginSource"]["oci"]["credentials"].get("passwordData")


async def stored(client: Any) -> Any:
    return (await client.get(client.functions, "f")).document


async def made(client: Any) -> None:
    given = function(password=PASSWORD)
    given["metadata"]["annotations"][LAST_APPLIED] = json.dumps(function(password=PASSWORD))
    await client.verbs.create(client.functions, given, SOMEONE)


async def test_no_reader_is_told_the_password_in_any_form(client: Any) -> None:
    await made(client)
    kept = await client.get(client.functions, "f")
    assert password_in(kept.document) == STORED
    shown = told(client.functions.kind, kept)
    assert shown.document["spec"]["template"]["code"]["goPluginSource"]["oci"]["credentials"] == {"username": "me"}
    assert shown.metadata["resourceVersion"] == kept.metadata["resourceVersion"]
    for form in (PASSWORD, STORED, base64.b64encode(PASSWORD.encode()).decode()):
        assert form.encode() not in shown.json
    assert json.loads(shown.metadata["annotations"][LAST_APPLIED])["metadata"]["name"] == "f"


async def test_an_update_without_a_password_keeps_the_one_of_the_same_image_and_user(client: Any) -> None:
    await made(client)
    target = client.one(client.functions, "f")
    await client.verbs.patch(target, merge_patch({"metadata": {"labels": {"a": "b"}}}), SOMEONE)
    assert password_in(await stored(client)) == STORED
    shown = told(client.functions.kind, await client.get(client.functions, "f")).fresh_document()
    await client.verbs.replace(target, shown, SOMEONE)
    assert password_in(await stored(client)) == STORED


@pytest.mark.parametrize(("field", "value"), [("repo", "elsewhere.test/plugin"), ("credentials", {"username": "you"})])
async def test_no_update_sends_the_password_elsewhere(client: Any, field: str, value: Any) -> None:
    await made(client)
    change = {"spec": {"template": {"code": {"goPluginSource": {"oci": {field: value}}}}}}
    with pytest.raises(Invalid, match="password"):
        await client.verbs.patch(client.one(client.functions, "f"), merge_patch(change), SOMEONE)


async def test_no_patch_copies_the_password_to_where_it_is_shown(client: Any) -> None:
    await made(client)
    move = {"op": "copy", "from": f"{CREDENTIALS}/passwordData", "path": "/metadata/annotations/seen"}
    with pytest.raises(Invalid):
        await client.verbs.patch(client.one(client.functions, "f"), json_patch([move]), SOMEONE)


async def test_a_new_password_takes_the_place_of_the_old(client: Any) -> None:
    await made(client)
    change = {"spec": {"template": {"code": {"goPluginSource": {"oci": {"credentials": {"password": "new"}}}}}}}
    await client.verbs.patch(client.one(client.functions, "f"), merge_patch(change), SOMEONE)
    assert base64.b64decode(base64.b64decode(password_in(await stored(client)))) == b"new"


async def test_a_password_that_is_not_encoded_is_refused_unquoted(client: Any) -> None:
    with pytest.raises(Invalid) as error:
        await client.verbs.create(client.functions, function(passwordData="hunter2!"), SOMEONE)
    assert "passwordData" in str(error.value)
    assert "hunter2" not in str(error.value)
