"""PURE. The command that mends a step, and the machine it is for. Where no command can, what to do in one sentence."""

import shlex
from collections.abc import Mapping

from cockpit.inventory import Hop

RELOAD = "systemctl reload ssh"
_SSHD = "/etc/ssh/sshd_config"

_DRIVER: Mapping[str, str] = {
    "let_go": "gpu-cockpit-agent let-go --resume",
    "driver_missing": "apt install nvidia-driver && modprobe nvidia  (or your distribution's package of the driver)",
    "driver_not_loaded": "modprobe nvidia; dmesg | grep NVRM",
    "driver_mismatch": "reboot  (drain it first: the library and the loaded module differ)",
    "library_missing": "apt install libnvidia-ml1  (the version of /proc/driver/nvidia/version)",
    "driver_silent": "dmesg | grep -e NVRM -e blocked; a driver that stays silent needs a reboot",
    "workers_stuck": "reboot",
    "no_permission": "ls -l /dev/nvidia*; systemctl cat gpu-cockpit-agent",
    "no_gpus": "dmesg | grep NVRM; lspci -d 10de:",
    "binding_missing": "apt install --reinstall gpu-cockpit-agent",
}
_KERNEL_LOG: Mapping[str, str] = {
    "kernel_log_denied": "systemctl restart gpu-cockpit-agent  (its unit has CAP_SYSLOG; by hand: "
    "sysctl -w kernel.dmesg_restrict=0)",
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
    return f"getent hosts {shlex.quote(hop.host)}; correct the address in the fleet file or HostName in ~/.ssh/config"


def key_refused(hop: Hop, via: tuple[Hop, ...]) -> str:
    """Its sshd knows none of the keys we offer."""
    words = ["ssh-copy-id"]
    if hop.identity:
        words += ["-i", hop.identity]
    if via:
        words += ["-o", "ProxyJump=" + ",".join(f"{jump.user}@{_bracket(jump.host)}:{jump.port}" for jump in via)]
    if hop.port != 22:
        words += ["-p", str(hop.port)]
    return f"{shlex.join([*words, f'{hop.user}@{hop.host}'])}  (`ssh-add -l` lists what your agent offers)"


def no_onward(machine: str, hop: Hop) -> str:
    """A bastion does not let us through to `hop`."""
    opened = f"{_bracket(hop.host)}:{hop.port}"
    return at(machine, f"set AllowTcpForwarding yes and PermitOpen {opened} in {_SSHD}, then: {RELOAD}")


def no_path(machine: str) -> str:
    """Neither a forwarded socket nor the bridge."""
    return at(machine, f"set AllowStreamLocalForwarding local in {_SSHD}, then: {RELOAD}; or install gpu-cockpit-agent")


def agent_down(machine: str) -> str:
    """Nobody listens on the socket."""
    return at(machine, "systemctl restart gpu-cockpit-agent; journalctl -u gpu-cockpit-agent -n 20")


def no_permission(machine: str, user: str) -> str:
    """The socket is not for this user."""
    return at(machine, f"usermod -aG gpu-cockpit-view {shlex.quote(user)}  (then log in anew)")


def update(machine: str, *, agent_is_old: bool) -> str:
    """Agent and cockpit speak different protocols."""
    return at(machine, "apt install --only-upgrade gpu-cockpit-agent") if agent_is_old else "pipx upgrade gpu-cockpit"


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
