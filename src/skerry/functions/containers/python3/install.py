"""Installs the packages of an image, within it: those of the system with apt-get, those of Python with pip.

Runs while the image is built, on the Python of its base image, so it imports the standard library alone. The files are
those of Dispatch's template of images: `name version` a line, and a requirements.txt.
"""

import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path("/skerry/packages")


def system_packages(text: str) -> list[str]:
    """Write lines of `name version` as apt-get takes them; the version may be missing."""
    lines = (line.split() for line in text.splitlines())
    return ["=".join(words[:2]) for words in lines if words]


def main() -> None:
    """Install both; end with the installer's exit code where it fails."""
    packages = system_packages((FOLDER / "system-packages.txt").read_text())
    if packages:
        if not shutil.which("apt-get"):
            sys.exit("systemDependencies: the base image has no apt-get to install them with")
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-qq", "--yes", "--no-install-recommends", "--", *packages)
    if (FOLDER / "packages.txt").read_text().strip():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        run(*pip, "install", "--quiet", "--no-cache-dir", "--root-user-action=ignore", "-r", "packages.txt")


def run(*command: str) -> None:
    """Run a program; end with its exit code where it fails."""
    code = subprocess.run(command, cwd=FOLDER, check=False).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
