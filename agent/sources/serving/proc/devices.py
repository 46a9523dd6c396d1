"""Which GPUs a process tree holds: as the driver lists it; where it does not, as the tree's environment says.

An environment is read once for each root, and only where everybody or this user may. Of it only the variables that
choose GPUs are looked at.
"""

import os
from collections.abc import Collection, Mapping

from agent.sources.serving.proc.table import Proc

_CHOOSES = (b"CUDA_VISIBLE_DEVICES=", b"NVIDIA_VISIBLE_DEVICES=")
_BYTES = 256 * 1024
_UUIDS = ("GPU-", "MIG-")
_SERVER = "nvidia-cuda-mps"  # the kernel cuts the name of the process that holds contexts for others


class Devices:
    """`proc`: where it is mounted."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._said: dict[str, str | None] = {}

    def of(
        self, members: list[Proc], held: Mapping[int, tuple[str, ...]], order: tuple[str, ...], *, in_container: bool
    ) -> tuple[tuple[str, ...], str]:
        """(UUIDs, how they are known). `order` are the host's GPUs in the order of their PCI addresses."""
        listed = tuple(dict.fromkeys(uuid for one in members for uuid in held.get(one.pid, ())))
        if listed:
            return tuple(sorted(listed, key=lambda uuid: order.index(uuid) if uuid in order else len(order))), "driver"
        if not order:
            return (), "none"
        said = self._chosen(members[0])
        if said is None:
            return (), "hidden" if self._has_server(held) else "none"
        chosen = tuple(
            _named(word.strip(), order, in_container=in_container) for word in said.split(",") if word.strip()
        )
        return tuple(dict.fromkeys(uuid for uuid in chosen if uuid)), "inferred" if any(chosen) else "none"

    def forget(self, alive: Collection[str]) -> None:
        """Processes that are not among these are gone."""
        for key in [key for key in self._said if key not in alive]:
            del self._said[key]

    def _chosen(self, root: Proc) -> str | None:
        """The devices that its environment names, "" if it names none; None where it is hidden."""
        if root.key not in self._said:
            self._said[root.key] = self._read(root.pid)
        return self._said[root.key]

    def _read(self, pid: int) -> str | None:
        try:
            fd = os.open(f"{self._proc}/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            text = os.read(fd, _BYTES)
        except OSError:
            return None
        finally:
            os.close(fd)
        entries = text.split(b"\0")
        for name in _CHOOSES:
            for entry in entries:
                if entry.startswith(name):
                    return entry[len(name) :].decode("ascii", "replace")
        return ""

    def _has_server(self, held: Mapping[int, tuple[str, ...]]) -> bool:
        """Whether contexts may be held by a server for others (MPS)."""
        for pid in held:
            try:
                with open(f"{self._proc}/{pid}/comm", "rb") as file:
                    if file.read(32).decode("ascii", "replace").startswith(_SERVER):
                        return True
            except OSError:
                continue
        return False


def _named(word: str, order: tuple[str, ...], *, in_container: bool) -> str:
    """A GPU's UUID from one word of such a variable: an index counts a container's own GPUs, which is no use here."""
    if word.startswith(_UUIDS):
        fitting = [uuid for uuid in order if uuid.startswith(word)]
        return fitting[0] if len(fitting) == 1 else word if word.startswith("MIG-") else ""
    if word.isdecimal() and not in_container and int(word) < len(order):
        return order[int(word)]
    return ""
