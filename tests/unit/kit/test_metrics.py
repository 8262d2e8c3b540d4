"""Metrics of the event loop: what Prometheus is told of them."""

import re
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from skerry.kit import metrics

SECONDS = (0.0, 0.005, 0.0051, 0.3, 1.0, 9.99, 10.0, 11.0, 1e9)


def exposed(kinds: Any) -> str:
    """Return the exposition of the same counts, less the times at which their series were made."""
    registry = CollectorRegistry()
    plain = kinds.Counter("plain_total", "Without labels.", registry=registry)
    counter = kinds.Counter("asked_total", "Asked.", ["verb", "code"], registry=registry)
    histogram = kinds.Histogram("asked_seconds", "How long.", ["verb"], registry=registry)
    own_buckets = kinds.Histogram("own_seconds", "How long.", registry=registry, buckets=(1.0, 2.5))
    plain.inc()
    counter.labels("get", 200).inc()
    counter.labels("get", 200).inc(2.5)
    counter.labels("put", 500)
    counter.labels("gone", 200).inc()
    counter.remove_by_labels({"verb": "gone"})
    for seconds in SECONDS:
        histogram.labels("get").observe(seconds)
        own_buckets.observe(seconds)
    return re.sub(r"(_created(?:\{.*\})?) .*", r"\1", generate_latest(registry).decode())


def test_exposition_is_that_of_prometheus_client() -> None:
    assert exposed(metrics) == exposed(prometheus_client)


@pytest.mark.parametrize("kinds", [metrics, prometheus_client])
def test_series_of_labels_are_found_in_the_registry(kinds: Any) -> None:
    registry = CollectorRegistry()
    kinds.Counter("asked_total", "Asked.", ["verb"], registry=registry).labels("get").inc(3)
    assert registry.get_sample_value("asked_total", {"verb": "get"}) == 3
