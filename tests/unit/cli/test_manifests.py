import io
from pathlib import Path
from typing import cast

import pytest

from skerry.api.errors import Conflict
from skerry.api.model import Document
from skerry.cli.manifests import apply_document, read_manifests, target_of
from skerry.client.transport import Target, Transport
from skerry.kit.errors import ConfigurationError

SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n"


def test_every_document_of_a_folder_and_of_lists_is_read(tmp_path: Path):
    (tmp_path / "b.yaml").write_text(f"{SECRET}---\n{SECRET}---\n")
    (tmp_path / "a.json").write_text(
        '{"kind": "List", "items": [{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}]}'
    )
    (tmp_path / "ignored.txt").write_text("no")
    kinds = [manifest.kind.kind for manifest in read_manifests(str(tmp_path), io.StringIO())]
    assert kinds == ["ConfigMap", "Secret", "Secret"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML or JSON"),
        ("just text", "must be an object"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}", "no kind Pod in version v1; known are .*EdgeFunction"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {}", "metadata.name: Required value"),
    ],
)
def test_bad_manifests_name_their_place_and_the_fix(text: str, message: str):
    with pytest.raises(ConfigurationError, match=message):
        read_manifests("-", io.StringIO(text))


def test_a_missing_file_is_named():
    with pytest.raises(ConfigurationError, match="there is no file or folder absent.yaml"):
        read_manifests("absent.yaml", io.StringIO())


def test_yaml_is_read_as_json_so_keys_and_times_are_text():
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {7: a, true: b, day: 2030-01-01T00:00:00Z}"
    [manifest] = read_manifests("-", io.StringIO(text))
    assert manifest.document["data"] == {"7": "a", "true": "b", "day": "2030-01-01T00:00:00Z"}


class Contended:
    """Of a transport what an apply uses: another writes the object's status after each of the first reads."""

    def __init__(self, writes: int) -> None:
        self.version, self.writes = 1, writes

    async def get(self, _target: Target) -> Document:
        return {"metadata": {"name": "a", "resourceVersion": str(self.version)}, "status": {"written": self.version}}

    async def replace(self, target: Target, document: Document) -> Document:
        if self.writes:
            self.writes -= 1
            self.version += 1
        if document["metadata"]["resourceVersion"] != str(self.version):
            raise Conflict(f"{target.name} has been modified")
        self.version += 1
        return {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}


async def test_an_apply_goes_through_whoever_writes_the_status_meanwhile():
    (manifest,) = read_manifests("-", io.StringIO("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"))
    transport = cast("Transport", Contended(writes=2))
    assert await apply_document(transport, target_of(manifest, "default"), manifest.document) == "configured"
