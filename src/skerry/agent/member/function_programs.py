"""What the processes of a function application are: their runtime, their bounds, and what they load.

    etc/baetyl/conf.yml           which functions there are, below the folder of an instance
    var/lib/baetyl/code/          their code
    source/                       what a process loads first, which leads to them: written here

Owns which runtimes a node has. Does not own the processes (`functions`).
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import yaml
from pydantic import ValidationError

from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.instances import Instance
from skerry.agent.member.limits import bounds_of, memory_bytes
from skerry.agent.member.users import User, can_read
from skerry.api.baetyl_application_services import ServiceFunction
from skerry.functions import InvocationError
from skerry.functions.local.node import NodeRuntime
from skerry.functions.local.process import Program
from skerry.functions.local.python import PythonRuntime

CONFIG_PATH, CODE_PATH = Path("etc/baetyl/conf.yml"), Path("var/lib/baetyl/code")
FUNCTIONS_MAX = 1000
_CONFIG_BYTES_MAX = 1024 * 1024
_ENTRIES = Path(__file__).with_name("handlers")
#: A Python that users of programs can read, where this one is not.
_PYTHONS = ("/usr/local/bin/python3", "/usr/bin/python3")
_ADDRESS_SPACE = "RLIMIT_AS"


def function_program(instance: Instance, folder: Path, user: User | None) -> Program:
    """Return how to start a process of a service.

    Args:
        instance: of the service.
        folder: its own.
        user: that it runs as; None for this process's.

    Raises:
        ApplicationError: there is no runtime for it, or none that its user can read.
    """
    memory = memory_bytes(instance.service)
    try:
        program = _of_runtime(instance, folder, user, memory)
    except InvocationError as error:
        raise ApplicationError(error.message) from error
    unread = [part for part in program.command if user and Path(part).is_file() and not can_read(Path(part))]
    if unread:
        raise ApplicationError(f"the users of programs can't read {unread[0]}, which runs functions: see programUsers")
    # V8 takes far more address space than memory; its heap is bounded.
    bounds = bounds_of(instance, user, data_bytes=None if program.bounds else memory)
    own = dict(program.bounds.limits) if program.bounds else {}
    return replace(program, bounds=replace(bounds, limits=tuple({**dict(bounds.limits), **own}.items())))


def _of_runtime(instance: Instance, folder: Path, user: User | None, memory: int | None) -> Program:
    config = instance.service.function_config
    match config.runtime if config else "":
        case "python3":
            runtime = PythonRuntime(python=_python(user))
            if memory is not None:  # which bounds it then, in place of its address space
                kept = {name: value for name, value in runtime.rlimits.items() if name != _ADDRESS_SPACE}
                runtime = replace(runtime, rlimits=kept)
            return runtime.program(folder, "baetyl_entry.handle")
        case "nodejs10":
            node = NodeRuntime() if memory is None else NodeRuntime(heap_mebibytes_max=max(1, memory >> 20))
            return node.program(folder, "baetyl_entry.cjs")
        case other:
            raise ApplicationError(f"this node has no runtime {other}: it has python3 and nodejs10")


def _python(user: User | None) -> str:
    ours = PythonRuntime().python
    if user is None or can_read(Path(ours)):
        return ours
    return next((each for each in _PYTHONS if Path(each).is_file() and can_read(Path(each))), ours)


def read_functions(path: Path) -> list[ServiceFunction]:
    """Read which functions a service has, as its control plane says; raises ApplicationError."""
    try:
        with path.open("rb") as file:
            told = yaml.safe_load(file.read(_CONFIG_BYTES_MAX))
        functions = [ServiceFunction.model_validate(each) for each in told["functions"]]
    except FileNotFoundError as error:
        raise ApplicationError(f"it mounts no configuration of its functions at /{CONFIG_PATH}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError, TypeError, KeyError) as error:
        raise ApplicationError(f"/{CONFIG_PATH} does not say which functions it has") from error
    if not 1 <= len(functions) <= FUNCTIONS_MAX:
        raise ApplicationError(f"it has {len(functions)} functions, and must have 1 to {FUNCTIONS_MAX}")
    for each in functions:
        if not each.handler.rpartition(".")[0] or ".." in Path(each.codedir).parts or Path(each.codedir).is_absolute():
            raise ApplicationError(f"function {each.name}: its handler must be FILE.FUNCTION, in a codedir of its code")
    return functions


def write_entry(source: Path, code: Path, functions: Sequence[ServiceFunction]) -> None:
    """Write what a process loads first, for others to read, since it may have a user of its own."""
    source.mkdir()
    for entry in ("baetyl_entry.py", "baetyl_entry.cjs"):
        shutil.copyfile(_ENTRIES / entry, source / entry)
    told = {"code": str(code), "functions": [each.model_dump() for each in functions]}
    (source / "functions.json").write_bytes(orjson.dumps(told))
    for path in source.iterdir():
        path.chmod(0o644)
    source.chmod(0o755)
