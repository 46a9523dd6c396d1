"""All families of the root helper: a new one is a file and a line."""

from agent.actuator import bundle, container, engine, gpu, haproxy, process, systemd, tools
from agent.actuator.family import Family

FAMILIES: tuple[Family, ...] = (
    systemd.FAMILY,
    container.FAMILY,
    haproxy.FAMILY,
    process.FAMILY,
    engine.FAMILY,
    gpu.FAMILY,
    bundle.FAMILY,
    tools.FAMILY,
)
