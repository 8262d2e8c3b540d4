"""Say of the interpreter that runs this what `python.sh` chooses by.

Prints its version, and whether it was built with profile-guided optimization: "3.11 optimized" or "3.11 plain". Ends
with an error where it is too old, or can't make a virtual environment with pip. Interpreters since 3.6 can run it.
"""

import os
import shutil
import subprocess
import sys
import sysconfig

MINIMUM = (3, 11)


def is_optimized() -> bool:
    """Tell whether the build was optimized.

    Its configuration says so, but for the packages of Debian and Ubuntu: their rules build the interpreter itself with
    profile and link-time optimization, apart from the shared library, whose configuration is what sysconfig shows.
    """
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return True
    packages = shutil.which("dpkg-query")
    if packages is None:
        return False
    search = [packages, "--search", os.path.realpath(sys.executable)]
    return subprocess.run(search, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def main() -> None:
    """Print what is said above."""
    if sys.version_info < MINIMUM:
        sys.exit("older than {}.{}".format(*MINIMUM))
    import ensurepip  # noqa: F401 - a package of its own on Debian, which may be missing
    import venv  # noqa: F401 - likewise

    build = "optimized" if is_optimized() else "plain"
    sys.stdout.write(f"{sys.version_info[0]}.{sys.version_info[1]} {build}\n")


if __name__ == "__main__":
    main()
