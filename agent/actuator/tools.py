"""Which programs there are that actions need."""

from agent.actuator import child
from agent.actuator.family import DONE, Family, Hands, Look, Outcome, Values

NAMES = ("systemctl", "systemd-run", "docker", "podman", "haproxy", "nvidia-smi", "nvidia-bug-report.sh", "journalctl")


def _see(_hands: Hands, _values: Values) -> Outcome:
    return Outcome(DONE, data={name: child.found(name) is not None for name in NAMES})


FAMILY = Family("tools", (), {}, {"tools": Look({}, _see)})
