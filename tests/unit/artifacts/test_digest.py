import hashlib

import pytest

from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import BadDigestError


def test_a_digest_reads_what_it_wrote() -> None:
    digest = Digest.of(b"hello")
    assert str(digest) == "sha256:" + hashlib.sha256(b"hello").hexdigest()
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:" + "A" * 64, "sha256:" + "0" * 63, "sha512:" + "0" * 64, "0" * 64,
     "sha256:" + "0" * 64 + "\n", "sha256:" + "\N{ARABIC-INDIC DIGIT ZERO}" * 64],
)  # fmt: skip
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadDigestError):
        Digest.parse(text)


def test_no_digest_can_name_a_path_outside_the_keep() -> None:
    with pytest.raises(BadDigestError):
        Digest("../" * 20 + "etcd")
