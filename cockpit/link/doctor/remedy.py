"""PURE. The command that mends a step, and the machine it is for. Where no command can, what to do in one sentence.

All are written alike, so that a screen can tell them apart: `on MACHINE: what to know: command`, the first two where
they are needed; the command is what follows the last colon with a blank.
"""

import shlex
from collections.abc import Mapping

from cockpit.inventory import Hop
from cockpit.link.ssh import by_hand

RELOAD = "systemctl reload ssh"
_SSHD = "/etc/ssh/sshd_config"

_DRIVER: Mapping[str, str] = {
    "let_go": "gpu-cockpit-agent let-go --resume",
    "driver_missing": "your distribution's package of the driver, for example: apt install nvidia-driver && "
    "modprobe nvidia",
    "driver_not_loaded": "modprobe nvidia; dmesg | grep NVRM",
    "driver_mismatch": "the library and the loaded module differ, drain the host first: reboot",
    "library_missing": "of the same version as /proc/driver/nvidia/version: apt install libnvidia-ml1",
    "driver_silent": "a driver that stays silent needs a reboot: dmesg | grep -e NVRM -e blocked",
    "workers_stuck": "reboot",
    "no_permission": "ls -l /dev/nvidia*; systemctl cat gpu-cockpit-agent",
    "no_gpus": "dmesg | grep NVRM; lspci -d 10de:",
    "binding_missing": "apt install --reinstall gpu-cockpit-agent",
}
_KERNEL_LOG: Mapping[str, str] = {
    "kernel_log_denied": "let its unit run the agent, which has CAP_SYSLOG (without it, sysctl -w "
    "kernel.dmesg_restrict=0): systemctl restart gpu-cockpit-agent",
    "kernel_log_missing": "run the agent on the host itself, or give its container --device /dev/kmsg",
}


def at(machine: str, command: str) -> str:
    """`on n1: command`."""
    return f"on {machine}: {command}"


def driver(machine: str, code: str, hint: str) -> str:
    """For what the agent says about NVML."""
    return at(machine, _DRIVER.get(code) or hint or "nvidia-smi")


def kernel_log(machine: str, code: str, hint: str) -> str:
    """For what the agent says about /dev/kmsg."""
    return at(machine, _KERNEL_LOG.get(code) or hint or "ls -l /dev/kmsg")


def clock(machine: str) -> str:
    """For a clock that is off."""
    return at(machine, "timedatectl set-ntp true && timedatectl")


def sshd_down(hop: Hop, machine: str) -> str:
    """Nobody listens on its port."""
    return at(machine, f"systemctl start ssh; ss -ltn | grep :{hop.port}")


def unreachable(hop: Hop, before: str) -> str:
    """No packet comes back; `before` is the machine in front of it, empty for this one."""
    test = f"nc -vz {shlex.quote(hop.host)} {hop.port}"
    return at(before, test) if before else f"{test}; ip route get {shlex.quote(hop.host)}"


def name_unknown(hop: Hop) -> str:
    """Its name leads to no address."""
    return f"correct its address in the fleet file, or HostName in ~/.ssh/config: getent hosts {shlex.quote(hop.host)}"


def key_refused(hop: Hop, via: tuple[Hop, ...]) -> str:
    """Its sshd knows none of the keys we offer."""
    command = by_hand.copy_key(hop, via)
    return f"offer another key (ssh-add -l lists those of your agent), or bring this one there: {command}"


def no_onward(machine: str, hop: Hop) -> str:
    """A bastion does not let us through to `hop`."""
    opened = f"{by_hand.bracketed(hop.host)}:{hop.port}"
    return at(machine, f"set AllowTcpForwarding yes and PermitOpen {opened} in {_SSHD}, then: {RELOAD}")


def no_path(machine: str) -> str:
    """Neither a forwarded socket nor the bridge."""
    return at(machine, f"install gpu-cockpit-agent, or set AllowStreamLocalForwarding local in {_SSHD}, then: {RELOAD}")


def agent_down(machine: str) -> str:
    """Nobody listens on the socket."""
    return at(machine, "systemctl restart gpu-cockpit-agent; journalctl -u gpu-cockpit-agent -n 20")


def no_permission(machine: str, user: str) -> str:
    """The socket is not for this user."""
    return at(machine, f"usermod -aG gpu-cockpit-view {shlex.quote(user)}")


def update(machine: str, *, agent_is_old: bool) -> str:
    """Agent and cockpit speak different protocols."""
    return at(machine, "apt install --only-upgrade gpu-cockpit-agent") if agent_is_old else "pipx upgrade gpu-cockpit"
