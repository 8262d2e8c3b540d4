"""Sources as they are sent: the same bytes for the same content, and nothing that leads out."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from skerry.cli import packing
from skerry.cli.packing import packed
from skerry.kit.errors import ConfigurationError


def names(content: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        return archive.getnames()


def test_a_folder_packs_to_the_same_bytes_whenever_and_by_whom_it_was_written(tmp_path: Path) -> None:
    for folder, seconds in (("a", 1), ("b", 2)):
        (tmp_path / folder / "shop").mkdir(parents=True)
        for name in ("main.py", "shop/price.py"):
            (tmp_path / folder / name).write_text("x")
            os.utime(tmp_path / folder / name, (seconds, seconds))
    (tmp_path / "b" / "__pycache__").mkdir()
    assert packed(tmp_path / "a") == packed(tmp_path / "b")
    assert names(packed(tmp_path / "a")) == ["main.py", "shop", "shop/price.py"]


def test_a_file_is_packed_at_the_root_whatever_link_names_it(tmp_path: Path) -> None:
    (tmp_path / "code").write_text("x")
    (tmp_path / "hello.py").symlink_to(tmp_path / "code")
    assert names(packed(tmp_path / "hello.py")) == ["hello.py"]


def test_links_within_the_folder_stay_links(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("x")
    (tmp_path / "hello.py").symlink_to("code.py")
    with tarfile.open(fileobj=io.BytesIO(packed(tmp_path)), mode="r:gz") as archive:
        assert archive.getmember("hello.py").linkname == "code.py"


def test_what_leads_out_of_the_folder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(ConfigurationError, match=r"passwd leads out of .*: put there what it leads to"):
        packed(tmp_path / "f")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="pipe is neither a file nor a folder"):
        packed(tmp_path)


@pytest.mark.parametrize(
    ("limit", "most"), [("SOURCE_FILES_MAX", 1), ("SOURCE_BYTES_MAX", 1), ("ARCHIVE_BYTES_MAX", 9)]
)
def test_a_folder_over_a_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(packing, limit, most)
    (tmp_path / "a.py").write_text("x")
    (tmp_path / "b.py").write_text("y")
    with pytest.raises(ConfigurationError, match="at most"):
        packed(tmp_path)
