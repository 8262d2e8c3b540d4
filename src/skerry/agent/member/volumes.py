"""The files of an application, laid out as its services mount them.

    volumes/<application>/<version>/<volume>/...                 one folder a volume
    run/<application>/<version>/<service>/<i>/<mount path>       a link to it, where an instance runs

A program on a node has no file system of its own: it runs in its folder, and finds below it, by relative paths, what a
container would find by absolute ones.
"""

import base64
import binascii
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skerry.agent.member.documents import Application, Resource
from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.held_places import give, held
from skerry.agent.member.instances import Instance
from skerry.agent.member.users import ProgramUsers, User
from skerry.api.baetyl_application_services import Volume
from skerry.kit.files import PRIVATE_DIRECTORY, PRIVATE_FILE, make_private_directory

OBJECT_PREFIX = "_object_"
#: The kind of applications that go on while the agent is away, and what they mount with them.
CONTAINERS = "kube"
#: Beside the folders of volumes: that they are whole, and since when.
LAYOUT_FILE = ".laid-out"


@dataclass(frozen=True, slots=True)
class Files:
    """What volumes of an application are filled with.

    Attributes:
        texts: content of files, by name of the volume, then of the file.
        fetched: where files and folders that were fetched are, likewise.
    """

    texts: Mapping[str, Mapping[str, bytes]]
    fetched: Mapping[str, Mapping[str, Path]]


@dataclass(frozen=True, slots=True)
class Mounted:
    """A folder or a file that an instance sees.

    Attributes:
        place: where it sees it: below the root of a container, or the folder of a program.
        source: where it is on this machine.
        read_only: whether it may not write there; a program is trusted with that.
    """

    place: PurePosixPath
    source: Path
    read_only: bool


def contents(volume: Volume, resource: Resource) -> dict[str, bytes]:
    """Return the files of a volume that a configuration or a secret holds itself; raises ApplicationError."""
    texts = {}
    for name, value in (resource.data or {}).items():
        if name.startswith(OBJECT_PREFIX):
            continue
        require_file_name(name)
        try:
            texts[name] = base64.b64decode(value, validate=True) if volume.secret else value.encode()
        except binascii.Error as error:
            raise ApplicationError(f"secret {resource.name}: {name} is not in base64") from error
    return texts


def require_file_name(name: str) -> None:
    """Raise ApplicationError for what can't be a file of a folder."""
    if not name or "/" in name or "\0" in name or name in {".", ".."}:
        raise ApplicationError(f"{name!r} can't be the name of a file")


class Volumes:
    """Lays files out. All work runs on the thread of its caller.

    Args:
        directory: the node's data directory.
        users: whose files they are, where programs have users of their own.
    """

    def __init__(self, directory: Path, users: ProgramUsers) -> None:
        self._users = users
        self._volumes = directory / "volumes"
        self._run = directory / "run"
        self._host = directory / "host"

    def lay_out(self, application: Application, files: Files) -> None:
        """Make the folders of an application's volumes, anew, but under containers that may go on.

        Raises:
            ApplicationError: something of it can't be a file.
            OSError: something can't be written.
        """
        root = self._root(application)
        if application.kind == CONTAINERS and self.layout(application):
            return
        shutil.rmtree(root, ignore_errors=True)
        try:
            for volume in application.volumes or ():
                if volume.host_path is None and volume.empty_dir is None:
                    folder = root / volume.name
                    make_private_directory(folder)
                    _fill(folder, files.texts.get(volume.name, {}), files.fetched.get(volume.name, {}))
            make_private_directory(root)
            (root / LAYOUT_FILE).write_text(f"{_boot()} {uuid.uuid4()}")
        except BaseException:
            shutil.rmtree(root, ignore_errors=True)  # of a disk that is full, all that there is is given back
            raise

    def layout(self, application: Application) -> str:
        """Return the id of an application's folders, another whenever they are made anew; "" where they are not whole.

        What was made before this machine was started may have been lost in part, so it counts as not whole.
        """
        try:
            boot, _, layout = (self._root(application) / LAYOUT_FILE).read_text().partition(" ")
        except FileNotFoundError:
            return ""
        return layout if boot == _boot() else ""

    def _root(self, application: Application) -> Path:
        return self._volumes / application.name / application.version

    def user_of(self, application: str) -> User | None:
        """Return who an application's programs run as; None for who runs this one. Raises ApplicationError, OSError."""
        return self._users.of(application)

    def instance_folder(self, instance: Instance) -> Path:
        """Make the folder of an instance, anew, with all that its service mounts; its user gets all of that.

        Raises:
            ApplicationError: something can't be mounted.
            OSError: something can't be written.
        """
        mounts = self.mounts(instance)
        root = self._instance(instance)
        for mount in mounts:
            place = root / mount.place
            make_private_directory(place.parent)
            place.symlink_to(mount.source, target_is_directory=True)
        if (user := self.user_of(instance.application.name)) is not None:
            self._hand_over(instance, mounts, user)
        return root

    def _hand_over(self, instance: Instance, mounts: Iterable[Mounted], user: User) -> None:
        """Let a user have what an instance sees, but for what is the machine's."""
        version = Path(instance.application.name, instance.application.version)
        root = self._instance(instance)
        for above in (self._volumes / version, root.parent):
            _let_pass(above, self._volumes.parent)
        for path in (root, self._volumes / version):
            give(path, user)
        for mount in mounts:
            if mount.source.is_relative_to(self._host):  # for all programs, of which each has a user of its own
                _let_pass(self._host, self._volumes.parent)
                with held(self._host, PurePosixPath(mount.source.relative_to(self._host))) as parts:
                    for above in parts[:-1]:
                        _let_through(above)
                    os.chown(parts[-1], *user)
                    parts[-1].chmod(stat.S_ISGID | stat.S_IRWXU | stat.S_IRWXG)

    def mounts(self, instance: Instance, *, anew: bool = True) -> list[Mounted]:
        """Return what an instance mounts; raises ApplicationError, OSError.

        Args:
            instance: whose.
            anew: whether its folders are emptied, which those of a container that goes on are not.
        """
        application, service, root = instance.application, instance.service, self._instance(instance)
        if anew:
            shutil.rmtree(root, ignore_errors=True)
        make_private_directory(root)
        volumes = {volume.name: volume for volume in application.volumes or ()}
        found = []
        for mount in service.volume_mounts or ():
            volume = volumes.get(mount.name)
            if volume is None:
                raise ApplicationError(f"there is no volume {mount.name}")
            source = self._source(application, volume, root)
            if mount.sub_path:
                source = _inside(source, mount.sub_path)
            is_told = volume.config is not None or volume.secret is not None
            found.append(Mounted(_relative(mount.mount_path), source, read_only=mount.read_only or is_told))
        return found

    def _instance(self, instance: Instance) -> Path:
        application = instance.application
        return self._run / application.name / application.version / instance.service.name / str(instance.number)

    def _source(self, application: Application, volume: Volume, root: Path) -> Path:
        if volume.host_path is not None:
            path = Path(volume.host_path.path)
            if path.is_absolute():
                return path
            make_private_directory(self._host)
            source = _inside(self._host, volume.host_path.path)
            with held(self._host, PurePosixPath(source.relative_to(self._host)), make=True):
                return source
        if volume.empty_dir is not None:
            source = root / ".empty" / volume.name
            make_private_directory(source)
            return source
        return self._root(application) / volume.name

    def remove(self, name: str, *, but: str = "") -> None:
        """Remove the files of an application, but those of one version."""
        for parent in (self._volumes / name, self._run / name):
            for folder in parent.iterdir() if parent.is_dir() else ():
                if folder.name != but:
                    shutil.rmtree(folder)
            if not but and parent.is_dir():
                parent.rmdir()
        if not but:
            self._users.forget(name)

    def remove_all_but(self, names: set[str]) -> None:
        """Remove the files of applications that are gone."""
        for parent in (self._volumes, self._run):
            for folder in parent.iterdir() if parent.is_dir() else ():
                if folder.name not in names:
                    shutil.rmtree(folder)
        self._users.forget_all_but(names)


def _boot() -> str:
    """Return the id of this machine's start; "" where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _let_pass(folder: Path, root: Path) -> None:
    """Let others pass through a folder, and those above it below a root; they can't see what is in them."""
    while folder != root:
        if folder.is_dir():
            _let_through(folder)
        folder = folder.parent


def _let_through(folder: Path) -> None:
    folder.chmod(folder.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)


def _fill(folder: Path, texts: Mapping[str, bytes], fetched: Mapping[str, Path]) -> None:
    for name, content in texts.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    for name, path in fetched.items():
        require_file_name(name)
        if path.is_dir():  # what was unpacked is the volume itself, as with Baetyl's own agent
            shutil.copytree(path, folder, symlinks=True, dirs_exist_ok=True)
            folder.chmod(PRIVATE_DIRECTORY)
        else:
            shutil.copy2(path, folder / name)


def _inside(folder: Path, path: str) -> Path:
    """Return a place below a folder, without links; raises ApplicationError where one leads out of it.

    A program may put another link there at any time. What this agent does to the place it does to what it holds
    (`held_places`), and a program reaches no more by its link than it does anyhow; a container's engine looks again.
    """
    place, root = (folder / _relative(path)).resolve(), folder.resolve()
    if not place.is_relative_to(root):
        raise ApplicationError(f"{path!r} leads out of the folder that it is to be in")
    return folder / place.relative_to(root)


def _relative(path: str) -> PurePosixPath:
    parts = [part for part in PurePosixPath(path).parts if part != "/"]
    if not parts or ".." in parts:
        raise ApplicationError(f"{path!r} is no place that something can be mounted at")
    return PurePosixPath(*parts)
