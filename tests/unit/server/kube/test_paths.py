"""One parser of paths: what each names, and what names nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.registry import KINDS
from skerry.server.kube.paths import GroupPath, ResourcePath, parse_path


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/api", GroupPath("api")),
        ("/apis", GroupPath("apis")),
        ("/apis/x.io", GroupPath("apis", "x.io")),
        ("/api/v1", ResourcePath("", "v1")),
        ("/apis/x.io/v1", ResourcePath("x.io", "v1")),
        ("/api/v1/configmaps", ResourcePath("", "v1", "configmaps")),
        ("/api/v1/namespaces", ResourcePath("", "v1", "namespaces")),
        ("/api/v1/namespaces/n", ResourcePath("", "v1", "namespaces", name="n")),
        ("/api/v1/namespaces/n/status", ResourcePath("", "v1", "namespaces", name="n", subresource="status")),
        ("/api/v1/namespaces/n/configmaps", ResourcePath("", "v1", "configmaps", "n")),
        ("/api/v1/namespaces/n/configmaps/c", ResourcePath("", "v1", "configmaps", "n", "c")),
        ("/apis/x.io/v1/things", ResourcePath("x.io", "v1", "things")),
        ("/apis/x.io/v1/things/t", ResourcePath("x.io", "v1", "things", "", "t")),
        ("/apis/x.io/v1/things/t/log", ResourcePath("x.io", "v1", "things", "", "t", "log")),
        ("/apis/x.io/v1/namespaces/n/things/t/status", ResourcePath("x.io", "v1", "things", "n", "t", "status")),
        ("/apis/x.io/v1/namespaces/n", None),
        ("/apis/x.io/v1/namespaces", None),
        ("/apis/x.io/v1/things/t/log/more", None),
        ("/apis//v1/things", None),
        ("/api/v1//things", None),
        ("/api/v1/configmaps/\0", None),
    ],
)
def test_paths_as_kubernetes_reads_them(path: str, named: object) -> None:
    assert parse_path(path) == named


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource)
def test_every_path_that_a_kind_writes_is_read_back(kind: object) -> None:
    namespace = "n" if kind.namespaced else ""  # type: ignore[attr-defined]
    for name, subresource in (("", ""), ("x", ""), ("x", "status")):
        expected = ResourcePath(kind.group, kind.version, kind.plural, namespace, name, subresource)  # type: ignore[attr-defined]
        assert parse_path(kind.path(namespace, name, subresource)) == expected  # type: ignore[attr-defined]


@given(st.text(max_size=60))
def test_any_text_is_a_path_or_none(path: str) -> None:
    parse_path("/" + path)
