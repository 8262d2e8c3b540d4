"""What is stored of objects."""

import json
import tracemalloc

import pytest

from skerry.api.dispatch_v1 import READY, Run, RunSpec, RunStatus
from skerry.api.model import ObjectMeta, to_document
from skerry.server.verbs.stored import encode, encode_model


@pytest.mark.parametrize("revision", [None, "7"])
def test_a_model_is_stored_as_its_document_is_metadata_first_and_without_its_revision(revision: str | None):
    metadata = ObjectMeta(name="a", namespace="b", labels={"metadata": '"metadata":'}, resource_version=revision)
    spec, status = RunSpec(function_name="f", input={"metadata": None}), RunStatus(state=READY, output='"metadata":')
    run = Run(api_version="dispatch.skerry.dev/v1", kind="Run", metadata=metadata, spec=spec, status=status)
    value = encode_model(run)
    assert value.startswith(b'{"metadata":{"name":"a"')
    assert json.loads(value) == json.loads(encode(to_document(run)))


def test_what_is_kept_of_an_object_takes_no_more_memory_than_its_content():
    document = {"metadata": {"name": "small", "resourceVersion": "7"}, "spec": {"text": "x" * 1000}}
    tracemalloc.start()
    try:
        kept = [encode(document) for _ in range(100)]
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 2 * sum(map(len, kept))
