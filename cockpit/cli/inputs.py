"""Which hosts a command is about, on which clock, with which settings."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cockpit.cli.arguments import Arguments
from cockpit.clock import Clock, ScaledClock, SystemClock
from cockpit.config import Config, home, state_home
from cockpit.config import load as load_config
from cockpit.errors import NothingToLookAt, UsageError
from cockpit.inventory import AGENT_SOCKET, HostEntry, Inventory, UnixTarget, from_hosts, load

if TYPE_CHECKING:
    from cockpit.link import Prompter, Timing
    from cockpit.link.audit_heads import AuditHeads
    from cockpit.link.ssh.trail import Trails
    from cockpit.runtime import LinkFactory, LinkSink, RunningLink

SYSTEM_FLEET = Path("/etc/gpu-cockpit/fleet.toml")


def inventory_of(arguments: Arguments) -> Inventory:
    """The hosts that were named, else those of the operator's or the system's fleet file, else the agent on this host.

    Raises:
        CockpitError: a name, target or file is wrong, or there is nothing to look at.
    """
    inventory = arguments.player.inventory if arguments.player is not None else _named(arguments)
    if inventory is not None:
        return inventory
    if os.path.exists(AGENT_SOCKET):
        return from_hosts([f"unix://{AGENT_SOCKET}"])
    raise NothingToLookAt(
        "no host was named, there is no fleet file and no agent runs here; "
        "try `gpu-cockpit --host NAME`, `--fleet FILE`, or `gpu-cockpit demo`"
    )


def _named(arguments: Arguments) -> Inventory | None:
    file = _fleet_file(arguments)
    inventory = None
    if file is not None:
        inventory = load(file, arguments.ssh_config)
        inventory = inventory.pick(arguments.hosts, arguments.ssh_config) if arguments.hosts else inventory
    elif arguments.hosts:
        inventory = from_hosts(arguments.hosts, arguments.ssh_config)
    for entry in inventory.hosts if inventory is not None and arguments.temporary else ():
        if isinstance(entry.target, UnixTarget):
            raise UsageError(f"--temporary goes over SSH, and {entry.name} is a socket on this machine; leave it away")
    return inventory


def fleet_hosts(arguments: Arguments) -> tuple[HostEntry, ...]:
    """The hosts of the fleet file, none where there is no file.

    Raises:
        InventoryError: the file is wrong.
    """
    file = _fleet_file(arguments)
    return load(file, arguments.ssh_config).hosts if file is not None else ()


def clock_of(inventory: Inventory) -> Clock:
    """The clock of these hosts' data."""
    return SystemClock() if inventory.clock is None else ScaledClock(*inventory.clock)


def config_of(arguments: Arguments) -> Config:
    """The operator's settings.

    Raises:
        ConfigError: the file is wrong.
    """
    return load_config(Path(arguments.config) if arguments.config else None)


def links_of(
    arguments: Arguments,
    prompter: "Prompter | None" = None,
    *,
    trails: "Trails | None" = None,
    timing: "Timing | None" = None,
) -> "LinkFactory":
    """What makes the links that this command line asks for, in the operator's name; `prompter` asks the operator,
    `trails` hear how far logins come, `timing` in place of the usual one.

    Raises:
        ConfigError: the operator's settings are wrong.
        UsageError: the program of --ssh-binary cannot be run, or the file of --ssh-config cannot be read.
    """
    operator = config_of(arguments).operator
    if arguments.ssh_binary and shutil.which(arguments.ssh_binary) is None:
        raise UsageError(
            f"--ssh-binary {arguments.ssh_binary}: there is no such program that you may run; "
            "give the path of an OpenSSH client, or leave it away"
        )

    chosen = arguments.ssh_config
    if chosen not in ("", "none") and not os.access(Path(chosen).expanduser(), os.R_OK):
        raise UsageError(f"--ssh-config {chosen}: there is no such file that you may read; give a file, or none")

    def links(inventory: Inventory, sink: "LinkSink", clock: Clock) -> "Sequence[RunningLink]":
        from cockpit.link import LinkOptions, links_for

        options = LinkOptions(
            arguments.batch, arguments.ssh_binary, arguments.ssh_config, arguments.temporary, prompter
        )
        return links_for(inventory, sink, clock, timing, operator=operator, options=options, trails=trails)

    from cockpit.link.audit_heads import noting

    return noting(links, audit_heads())


def audit_heads() -> "AuditHeads":
    """What this operator's consoles remember of the audits of hosts."""
    from cockpit.link.audit_heads import AuditHeads

    return AuditHeads(state_home() / "audit-heads.json")


def _fleet_file(arguments: Arguments) -> Path | None:
    if arguments.fleet:
        return Path(arguments.fleet)
    # Targets that are whole addresses need no file; bare names may be names of the usual one.
    for file in (home() / "fleet.toml", SYSTEM_FLEET):
        if file.exists() and not (arguments.hosts and all("://" in host or "@" in host for host in arguments.hosts)):
            return file
    return None
