"""What a real host's agent reads, in one tuple: a new source is a file under `agent/sources` and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.clock import Clock
from agent.config import AgentConfig, HostIdentity
from agent.recorder import State
from agent.sources.base import Source
from agent.sources.host import HostSource
from agent.sources.kernel_log import KernelLogSource
from agent.sources.nvml.source import NvmlSource
from agent.sources.processes import ProcessSource


@dataclass(frozen=True, slots=True)
class Site:
    """What sources are made from. `made` holds those already made, by name, for those that build on another."""

    config: AgentConfig
    identity: HostIdentity
    clock: Clock
    state: State
    made: dict[str, Any]


def _nvml(site: Site) -> Source:
    def describe(pid: int) -> Mapping[str, Any] | None:
        processes = site.made.get("processes")
        return processes.row(pid) if processes is not None else None

    return NvmlSource(
        site.clock,
        site.identity.host_id,
        known=site.state.gpus,
        expected=site.config.gpus_expected,
        pci_devices=site.config.sysfs / "bus/pci/devices",
        describe=describe,
    )


def _kernel_log(site: Site) -> Source:
    known = site.state.kernel_log
    cursor = (known.boot_id, known.seq) if known else None
    return KernelLogSource(site.clock, cursor, path=str(site.config.kernel_log), boot_id=site.identity.boot_id)


def _host(site: Site) -> Source:
    config = site.config
    return HostSource(site.identity.host_id, site.clock, proc=str(config.proc), sys=str(config.sysfs))


def _processes(site: Site) -> Source:
    nvml = site.made["nvml"]
    return ProcessSource(site.clock, lambda: nvml.gpu_pids, silent=lambda: nvml.silent, proc=str(site.config.proc))


SOURCES: tuple[Callable[[Site], Source], ...] = (
    _nvml,
    _kernel_log,
    _host,
    _processes,
)


def build(site: Site) -> tuple[Source, ...]:
    """Every source of this host, in the order of their columns in the schema."""
    built = []
    for make in SOURCES:
        source = make(site)
        site.made[source.name] = source
        built.append(source)
    return tuple(built)
