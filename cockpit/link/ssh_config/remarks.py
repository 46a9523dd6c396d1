"""What ssh_config asks for and does not get here, as sentences: file and line, construct, consequence, next step."""

from collections.abc import Iterable

from cockpit.inventory import Hop, SshTarget


def remarks(target: SshTarget) -> tuple[str, ...]:
    """The sentences about a target that has been resolved, those of its jumps first; each of them once."""
    return of_hops((*target.jumps, target.hop))


def of_hops(hops: Iterable[Hop]) -> tuple[str, ...]:
    """The sentences about some hops. What refuses a login is the link's own sentence, and not repeated here."""
    return tuple(dict.fromkeys(str(remark) for hop in hops for remark in hop.ssh.remarks))
