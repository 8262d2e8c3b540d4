"""What processes and this machine use, as psutil measures it."""

import platform
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from skerry.api.model import Document

#: Above this share of a disk or of the memory, the node says that it is under pressure.
PRESSURE_PERCENT = 90.0
#: Processes of one instance that are looked at.
PROCESSES_MAX = 1000


@dataclass(frozen=True, slots=True)
class Used:
    """What something uses."""

    cpu_cores: float = 0.0
    memory_bytes: int = 0


class TreeUsage:
    """What a process and its children use, from one look to the next."""

    def __init__(self) -> None:
        self._pid = 0
        self._seconds = 0.0
        self._looked = 0.0

    def measured(self, pid: int | None) -> Used:
        """Return what a process uses: cores since the look before, memory now; nothing for one that is gone."""
        try:
            root = psutil.Process(pid) if pid else None
            tree = [root, *root.children(recursive=True)[:PROCESSES_MAX]] if root else []
        except psutil.Error:
            tree = []
        seconds, memory = 0.0, 0
        for process in tree:
            try:
                times = process.cpu_times()
                seconds += times.user + times.system
                memory += process.memory_info().rss
            except psutil.Error:
                continue
        now = time.monotonic()
        since = now - self._looked if pid == self._pid else 0.0
        cores = max(0.0, seconds - self._seconds) / since if since > 0 else 0.0
        self._pid, self._seconds, self._looked = pid or 0, seconds, now
        return Used(cores, memory)


def host_name() -> str:
    """Return this machine's name."""
    return socket.gethostname()


def machine_facts() -> Document:
    """Return what this machine is, as reports have it."""
    return {
        "hostname": host_name(),
        "address": _address(),
        "arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "kernelVer": platform.release(),
        "os": platform.system().lower(),
        "containerRuntime": "",
        "machineID": _line(Path("/etc/machine-id")),
        "bootID": _line(Path("/proc/sys/kernel/random/boot_id")),
        "systemUUID": _line(Path("/sys/class/dmi/id/product_uuid")),
        "osImage": _os_image(),
        "role": "master",
        "labels": {},
    }


def machine_stats(data_dir: Path) -> Document:
    """Return what this machine uses and has, as reports have it; the disk is that of the data directory."""
    memory, disk, net = psutil.virtual_memory(), psutil.disk_usage(str(data_dir)), psutil.net_io_counters()
    cores = psutil.cpu_count() or 1
    counters = {
        "netBytesSent": net.bytes_sent,
        "netBytesRecv": net.bytes_recv,
        "netPacketsSent": net.packets_sent,
        "netPacketsRecv": net.packets_recv,
    }
    return {
        "ready": True,
        "diskPressure": disk.percent > PRESSURE_PERCENT,
        "memoryPressure": memory.percent > PRESSURE_PERCENT,
        "pidPressure": False,
        "NetworkUnavailable": False,
        "usage": {
            "cpu": f"{psutil.cpu_percent() / 100 * cores:.3f}",
            "memory": str(memory.total - memory.available),
            "disk": str(disk.used),
        },
        "capacity": {"cpu": str(cores), "memory": str(memory.total), "disk": str(disk.total)},
        "percent": {"disk": f"{disk.percent / 100:.4f}"},
        "netio": {name: str(value) for name, value in counters.items()},
        "extension": None,
    }


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _address() -> str:
    """Return the first address of this machine that others can reach; loopback where there is none."""
    for name, addresses in sorted(psutil.net_if_addrs().items()):
        for each in addresses:
            if each.family == socket.AF_INET and name != "lo" and not each.address.startswith("127."):
                return str(each.address)
    return "127.0.0.1"
