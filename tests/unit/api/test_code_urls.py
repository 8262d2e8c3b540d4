"""URLs of code: every row of Istio's table of urls, with our choices where Istio's code strays from its document."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skerry.api.code_urls import FileUrl, HttpUrl, OciReference, parse_code_url

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("test", "oci://docker.io/library/test:latest"),
        ("test:latest", "oci://docker.io/library/test:latest"),
        ("user/test:v1", "oci://docker.io/user/test:v1"),
        ("index.docker.io/user/test", "oci://docker.io/user/test:latest"),
        ("test.com/test", "oci://test.com/test:latest"),
        ("gcr.io/a/b:1.0", "oci://gcr.io/a/b:1.0"),
        ("localhost/a", "oci://localhost/a:latest"),
        ("localhost:5000/a/b:v1", "oci://localhost:5000/a/b:v1"),
        ("private-registry:5000/x:latest", "oci://private-registry:5000/x:latest"),
        ("registry.example.com:443/x/y", "oci://registry.example.com:443/x/y:latest"),
        ("127.0.0.1:5000/a/b:v1", "oci://127.0.0.1:5000/a/b:v1"),
        ("[::1]:5000/a", "oci://[::1]:5000/a:latest"),
        ("OCI://h.example/a", "oci://h.example/a:latest"),
        ("oci://H.example/a", "oci://h.example/a:latest"),
        (f"h.example/a@sha256:{DIGEST}", f"oci://h.example/a@sha256:{DIGEST}"),
        (f"h.example/a:v1@sha256:{DIGEST}", f"oci://h.example/a:v1@sha256:{DIGEST}"),
        ("HTTP://h.example/x.wasm", "http://h.example/x.wasm"),
        ("https://h.example:8443/x.wasm?v=1#part", "https://h.example:8443/x.wasm?v=1"),
        ("file:///opt/a.wasm", "file:///opt/a.wasm"),
        ("file:/opt/a.wasm", "file:///opt/a.wasm"),
        ("file:///opt/a%20b.wasm", "file:///opt/a b.wasm"),
    ],
)
def test_a_url_is_read_as_what_it_means(text: str, meant: str) -> None:
    assert str(parse_code_url(text)) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "OCI reference"),
        ("ftp://h/a.wasm", "scheme ftp is not supported"),
        ("fake://example.com", "scheme fake is not supported"),
        ("#%blah$#@", "not an OCI reference"),
        ("/opt/a.wasm", "file:///opt/a.wasm"),
        ("file://a.wasm", "absolute path"),
        ("file://", "absolute path"),
        ("file:///a%00b", "NUL"),
        ("http://", "name a host"),
        ("http://:80/a", "name a host"),
        ("http://h:99999/a", "not a URL"),
        ("https://user:secret@h/a", "user or a password"),
        ("oci://", "not an OCI reference"),
        ("oci://h.example/", "not an OCI reference"),
        ("h.example/Upper", "lower case"),
        ("h.example:0/a", "port"),
        ("h.example:66666/a", "port"),
        ("h.example/a@sha256:abc", "64 hexadecimal"),
        ("h.example/a:v1 ", "spaces"),
        ("h.example/a\nb", "control characters"),
        ("a" * 3000, "at most 2048 characters"),
        ("h.example/" + "a" * 255, "at most 255 characters"),
    ],
)
def test_a_url_that_can_not_be_meant_is_refused_with_what_is_accepted(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_code_url(text)


@given(st.text(alphabet="ab0AZ./:@-_%[]#?~ \n\0é", max_size=60) | st.text(max_size=60))
@example("[::1]:5000/a:b@sha256:" + DIGEST)
@example("http://[")
@example("file:/%2e%2e")
def test_any_text_is_read_or_refused_and_what_was_read_reads_the_same_again(text: str) -> None:
    for candidate in (text, f"oci://{text}", f"https://{text}", f"file:///{text}"):
        try:
            parsed = parse_code_url(candidate)
        except ValueError:
            continue
        assert parse_code_url(str(parsed)) == parsed


_part = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-+)[a-z0-9]{1,8}){0,2}", fullmatch=True)


@given(
    registry=st.sampled_from(["localhost", "localhost:5000", "r.example", "10.0.0.1:80", "[::1]:443"]),
    repository=st.lists(_part, min_size=1, max_size=4).map("/".join),
    tag=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    digest=st.sampled_from(["", DIGEST]),
)
def test_a_reference_is_the_same_with_and_without_its_scheme(
    registry: str, repository: str, tag: str, digest: str
) -> None:
    reference = OciReference(registry, repository, tag, digest)
    assert parse_code_url(str(reference)) == reference
    assert parse_code_url(str(reference).removeprefix("oci://")) == reference


def test_each_scheme_has_its_own_form() -> None:
    assert parse_code_url("a.example/b") == OciReference("a.example", "b", "latest")
    assert parse_code_url("https://a.example/b") == HttpUrl("https://a.example/b")
    assert parse_code_url("file:///b") == FileUrl("/b")
