"""`python -I agent/actuator/__main__.py`: the root helper as systemd starts it, or by hand with --socket. With
--check-policy it says whether a policy would be obeyed, and does nothing else."""

import argparse
import grp
import os
import pwd
import signal
import sys
from pathlib import Path

if not __package__:  # started by its own path, as the unit does: nothing of the environment decides what is imported
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from agent.actuator.audit import Audit, Unusable
from agent.actuator.desk import Closed, Desk
from agent.actuator.families import FAMILIES
from agent.actuator.policy import Policy, Wrong
from agent.actuator.server import NOTES_A_MINUTE, Rate, Server, listener
from agent.actuator.voice import ERROR, tell

PROGRAM = "gpu-cockpit-actuator"
POLICY = Path("/etc/gpu-cockpit/policy.toml")
AUDIT = Path("/var/log/gpu-cockpit/audit.jsonl")
STATE = Path("/var/lib/gpu-cockpit-actuator")
WRONG, CANNOT = 2, 3


def main() -> int:
    """Serve; returns the exit status."""
    arguments = _arguments()
    if arguments.check_policy is not None:
        return _check(arguments.check_policy)
    try:
        uid = _uid(arguments.user)
        group = grp.getgrnam(arguments.group).gr_gid if arguments.group else None
        socket = listener(arguments.socket)
    except KeyError:
        return _fail(f"this host has no user {arguments.user!r} or no group {arguments.group!r}", WRONG)
    except OSError as error:
        return _fail(str(error), CANNOT)
    server = Server(socket, _desk(arguments, group), uid, arguments.idle or None)
    server.end_on(signal.SIGTERM, signal.SIGINT)
    server.serve()
    return 0


def _desk(arguments: argparse.Namespace, group: int | None) -> Desk | Closed:
    """What answers. Without an audit nothing is done, and whoever asks is told why: ending here instead would only make
    systemd start us again for the same request."""
    try:
        arguments.state.mkdir(mode=0o700, exist_ok=True)
        audit = Audit(arguments.audit, group)
    except (Unusable, OSError) as error:
        tell(ERROR, f"{error}; nothing is done until that is mended")
        return Closed(str(error))
    policy = Policy(arguments.policy, FAMILIES, {0, os.geteuid()})  # the second is for tests: in service it is root too
    return Desk(FAMILIES, policy, audit, arguments.state, Rate(NOTES_A_MINUTE))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=PROGRAM, allow_abbrev=False)
    parser.add_argument("--user", default="gpu-cockpit", help="the one user, by name or number, that is heard")
    parser.add_argument("--group", default="", help="the group that may read the audit")
    parser.add_argument("--socket", type=Path, help="make this socket (default: the one that systemd hands over)")
    parser.add_argument("--policy", type=Path, default=POLICY)
    parser.add_argument("--audit", type=Path, default=AUDIT)
    parser.add_argument("--state", type=Path, default=STATE)
    parser.add_argument(
        "--idle", type=float, default=60.0, help="seconds without a request after which it ends; 0: never"
    )
    parser.add_argument("--check-policy", type=Path, metavar="FILE", help="say whether this policy would be obeyed")
    return parser.parse_args()


def _uid(user: str) -> int:
    return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid


def _check(path: Path) -> int:
    try:
        entries = Policy(path, FAMILIES).read()
    except FileNotFoundError:
        print(f"{path}: absent, so nobody may act on this host")  # noqa: T201 - it is what was asked for
        return 0
    except Wrong as wrong:
        return _fail(str(wrong), WRONG)
    actions = ", ".join(sorted({name for entry in entries for name in entry.actions})) or "no action"
    print(f"{path}: ok, {len(entries)} [[allow]]: {actions}")  # noqa: T201 - it is what was asked for
    return 0


def _fail(says: str, status: int) -> int:
    print(f"{PROGRAM}: {says}", file=sys.stderr)  # noqa: T201 - its only voice
    return status


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a thread that still waits for a child must not keep a helper that was told to end
