"""Every scenario by name, with the folder its TOML file is in: nights to look at here, proofs of rules by family."""

from agent.sim.scenarios import drills, host, links, memory, recorder, serving, xid

NIGHTS: tuple[str, ...] = (
    "healthy-night",
    "xid79-falls-off-bus",
    "uncorrectable-ecc",
    "thermal-runaway",
    "nvml-hang",
)

FOLDERS: dict[str, str] = {
    **dict.fromkeys(NIGHTS, ""),
    **dict.fromkeys(xid.NAMES, "xid"),
    **dict.fromkeys(memory.NAMES, "memory"),
    **dict.fromkeys(links.NAMES, "links"),
    **dict.fromkeys(host.NAMES, "host"),
    **dict.fromkeys(recorder.NAMES, "recorder"),
    **dict.fromkeys(serving.NAMES, "serving"),
    **dict.fromkeys(drills.NAMES, "drills"),
}
