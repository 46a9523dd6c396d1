"""What a real host's agent reads, as two tuples: a new source is a file under `agent/sources` and a line here.

`once` builds the quick ones alone and has 100 ms: what they import counts, so the other two bring their modules along.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agent.clock import Clock
from agent.config import AgentConfig, HostIdentity
from agent.sources.base import Reading, Source
from agent.sources.host import HostSource
from agent.sources.processes import ProcessSource
from agent.sources.processes.source import GHOST_AFTER_S
from agent.wire.signals import Cadence

if TYPE_CHECKING:
    from agent.recorder import Recorder


class QuickSource(Source, Protocol):
    """A source that `once` reads too: `read_now` is `read` without a loop and takes a few milliseconds at most."""

    def read_now(self, due: frozenset[Cadence]) -> Reading:
        """What is due now."""


@dataclass(frozen=True, slots=True)
class Site:
    """What sources are made from. `made` holds those already made, by name, for those that build on another. `once`:
    they will be read a single time, and nothing is remembered."""

    config: AgentConfig
    identity: HostIdentity
    clock: Clock
    recorder: "Recorder | None"
    made: dict[str, Any]
    once: bool = False


def _nvml(site: Site) -> Source:
    from agent.sources.nvml.source import NvmlSource

    def describe(pid: int) -> Mapping[str, Any] | None:
        processes = site.made.get("processes")
        return processes.row(pid) if processes is not None else None

    return NvmlSource(
        site.clock,
        site.identity.host_id,
        known=site.recorder.gpus if site.recorder else {},
        expected=site.config.gpus_expected,
        pci_devices=site.config.sysfs / "bus/pci/devices",
        describe=describe,
    )


def _kernel_log(site: Site) -> Source:
    from agent.sources.kernel_log import KernelLogSource

    known = site.recorder.kernel_log if site.recorder else None
    cursor = (known.boot_id, known.seq) if known else None
    return KernelLogSource(site.clock, cursor, path=str(site.config.kernel_log), boot_id=site.identity.boot_id)


def _host(site: Site) -> QuickSource:
    config = site.config
    return HostSource(site.identity.host_id, site.clock, proc=str(config.proc), sys=str(config.sysfs), light=site.once)


def _processes(site: Site) -> QuickSource:
    nvml = site.made["nvml"]
    return ProcessSource(
        site.clock,
        lambda: nvml.gpu_pids,
        silent=lambda: getattr(nvml, "silent", frozenset()),  # one reading alone cannot have an old list
        proc=str(site.config.proc),
        ghost_after_s=0.0 if site.once else GHOST_AFTER_S,
    )


def _system(site: Site) -> Source:
    from agent.sources.system import SystemSource
    from agent.sources.system.boot import BootFacts

    config, nvml = site.config, site.made["nvml"]
    known = site.recorder.kernel_log if site.recorder else None
    return SystemSource(
        site.identity.host_id,
        site.clock,
        proc=config.proc,
        sys=config.sysfs,
        watched=config.disks,
        modules=config.kernel_modules,
        holders=lambda: nvml.gpu_pids,
        boot=BootFacts(site.identity.boot_id, known.boot_id if known else ""),
    )


def _units(site: Site) -> Source:
    from agent.sources.units import UnitSource

    return UnitSource(site.identity.host_id, site.clock, site.config.sysfs)


def _pci(site: Site) -> Source:
    from agent.sources.pci import PciSource

    nvml = site.made["nvml"]
    return PciSource(site.identity.host_id, site.clock, site.config.sysfs, lambda: nvml.slots)


def _network(site: Site) -> Source:
    from agent.sources.network import NetworkSource

    return NetworkSource(site.identity.host_id, site.clock, site.config.sysfs, site.config.network)


def _balancer(site: Site) -> Source:
    from agent.sources.balancer import BalancerSource

    return BalancerSource(site.clock, site.config.balancer)


def _serving(site: Site) -> Source:
    from agent.sources.serving.http import HttpClient
    from agent.sources.serving.proc import ProcLandscape
    from agent.sources.serving.source import ServingSource
    from agent.sources.serving.tables import check

    config, nvml = site.config, site.made["nvml"]
    check(config.serving)
    landscape = ProcLandscape(
        site.clock,
        lambda: nvml.gpu_pids,
        lambda: nvml.slots,
        proc=str(config.proc),
        sys=str(config.sysfs),
    )
    return ServingSource(site.clock, landscape, HttpClient(site.clock, still=landscape.still), config.serving)


QUICK: tuple[Callable[[Site], QuickSource], ...] = (
    _host,
    _processes,
)

SOURCES: tuple[Callable[[Site], Source], ...] = (
    _nvml,
    _kernel_log,
    *QUICK,
    _system,
    _units,
    _pci,
    _network,
    _balancer,
    _serving,
)

S = TypeVar("S", bound=Source)


def build(site: Site, makers: tuple[Callable[[Site], S], ...]) -> tuple[S, ...]:
    """The sources of these makers, in the order of their columns in the schema."""
    built = []
    for make in makers:
        source = make(site)
        site.made[source.name] = source
        built.append(source)
    return tuple(built)
