"""What is stored of objects."""

import tracemalloc

from skerry.server.verbs.stored import encode


def test_what_is_kept_of_an_object_takes_no_more_memory_than_its_content():
    document = {"metadata": {"name": "small", "resourceVersion": "7"}, "spec": {"text": "x" * 1000}}
    tracemalloc.start()
    try:
        kept = [encode(document) for _ in range(100)]
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 2 * sum(map(len, kept))
