"""What ssh_config asks for and does not get here, as sentences: file and line, construct, consequence, next step."""

from collections.abc import Iterable

from cockpit.inventory import Hop, SshTarget
from cockpit.inventory.settings import Remark


def remarks(target: SshTarget) -> tuple[str, ...]:
    """The sentences about a target that has been resolved, those of its jumps first; each of them once."""
    return of_hops((*target.jumps, target.hop))


def of_hops(hops: Iterable[Hop]) -> tuple[str, ...]:
    """The sentences about some hops; a hop that is refused says so first."""
    found: dict[str, None] = {}
    for hop in hops:
        said: tuple[Remark, ...] = (*((hop.ssh.refused,) if hop.ssh.refused else ()), *hop.ssh.remarks)
        found.update((str(remark), None) for remark in said)
    return tuple(found)
