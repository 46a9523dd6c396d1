"""Lines of the kernel that explain a dead replica or a slow host: stuck tasks, NICs, disks, memory. PURE."""

from agent.sources.kernel_log.pattern import Pattern, pattern


def _kernel(needle: str, what: str, regex: str, says: str) -> Pattern:
    return pattern(needle, "kernel", what, regex, says)


def _nic(needle: str, what: str, regex: str, says: str) -> Pattern:
    return _kernel(needle, what, r"mlx5_core {BUS}.*" + regex, "NIC {bus}: " + says)


def _disk(needle: str, regex: str, says: str) -> Pattern:
    return _kernel(needle, "disk", regex, says)


_STUCK = (
    _kernel(
        "blocked for more than",
        "hung_task",
        r"INFO: task (?P<name>.{1,64}?):(?P<pid>\d+) (?:<[^>]{0,64}> )?blocked for more than (?P<seconds>\d+) seconds",
        "{name} (pid {pid}) blocked for more than {seconds} s",
    ),
    _kernel(
        "soft lockup",
        "soft_lockup",
        r"BUG: soft lockup - CPU#(?P<cpu>\d+) stuck for (?P<seconds>\d+)s!?(?: \[(?P<name>.{1,64}):(?P<pid>\d+)\])?",
        "CPU {cpu} stuck for {seconds} s in {name}",
    ),
    _kernel("hard LOCKUP", "hard_lockup", r"hard LOCKUP on cpu (?P<cpu>\d+)", "CPU {cpu} locked up"),
    _kernel("detected stall", "rcu_stall", r"rcu: .*detected stalls?", "RCU stall: a CPU does not get on"),
    _kernel("Kernel panic", "panic", r"Kernel panic - not syncing: (?P<cause>.*)", "kernel panic: {cause}"),
)

_NICS = (
    _nic(
        "insufficient power on", "nic_power", r"insufficient power on the PCIe slot", "its slot gives too little power"
    ),
    _nic("High Temperature", "nic_hot", r"Port module event.*High Temperature", "its optics overheat"),
    _nic("ACCESS_REG", "nic_monitor", r"ACCESS_REG\(0x805\).*failed", "a monitor reads counters it may not"),
    _nic("health compromised", "nic_dead", r"health compromised", "firmware health compromised"),
    _nic("unrecoverable hardware", "nic_dead", r"unrecoverable hardware error", "unrecoverable hardware error"),
    _nic("leak of a command", "nic_dead", r"Will cause a leak of a command resource", "firmware does not answer"),
)

_DISKS = (
    _disk(
        "emounting filesystem read-only",
        r"(?:\((?:device )?(?P<device>[^()]{1,32})\): )?[Rr]emounting filesystem read-only",
        "filesystem on {device} was remounted read-only",
    ),
    _disk("EXT4-fs error", r"EXT4-fs error \(device (?P<device>[^()]{1,32})\)", "ext4 error on {device}"),
    _disk(
        "XFS (", r"XFS \((?P<device>[^()]{1,32})\):.*(?:[Ss]hutting down|[Cc]orruption)", "XFS on {device} is damaged"
    ),
    _disk("Buffer I/O error", r"Buffer I/O error on dev(?:ice)? (?P<device>[^,\s]{1,32})", "I/O error on {device}"),
    _disk(
        "timeout, reset controller",
        r"nvme (?P<device>nvme\d+): I/O .*timeout, reset controller",
        "{device}: I/O timed out, controller is reset",
    ),
    _disk(
        "after reset failure",
        r"nvme (?P<device>nvme\d+): (?:Disabling|Removing) (?:device )?after reset failure",
        "{device} was disabled: its reset failed",
    ),
    _disk("no available path", r"(?P<device>(?:nvme|dm-)\w{1,30}): .*no available path", "{device} has no path left"),
    _disk("no available path", r"no available path", "a disk has no path left"),
)

_MEMORY = (
    _kernel(
        "EDAC ", "memory_uncorrected", r"EDAC \S+: (?P<count>\d+) UE\b", "{count} uncorrectable host memory error(s)"
    ),
    _kernel("EDAC ", "memory_corrected", r"EDAC \S+: (?P<count>\d+) CE\b", "{count} corrected host memory error(s)"),
    _kernel("[Hardware Error]", "mce", r"mce: \[Hardware Error\]: (?P<cause>.*)", "machine check: {cause}"),
)

PATTERNS: tuple[Pattern, ...] = (
    *_STUCK,
    *_NICS,
    *_DISKS,
    *_MEMORY,
    _kernel(
        "file-max limit",
        "fd_max",
        r"VFS: file-max limit (?P<limit>\d+) reached",
        "the host ran out of file descriptors ({limit})",
    ),
    _kernel(
        "libnccl",
        "segfault",
        r"(?P<name>[^\s\[\]][^\[\]]{0,30})\[(?P<pid>\d+)\]: segfault .*in libnccl",
        "{name} (pid {pid}) crashed inside libnccl",
    ),
    _kernel(
        " GT/s PCIe x",
        "slot_limited",
        r"{BUS}: .*limited by (?P<limited>[\d.]+ GT/s PCIe x\d+) link",
        "PCI {bus} is limited by a {limited} link",
    ),
)
