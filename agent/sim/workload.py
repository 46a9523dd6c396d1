"""What simulated GPUs are busy with: serving replicas with a daily curve, one process per GPU they hold.

Which replicas a host has stands in `agent.sim.serving.layout`. Demand follows from seed, replica and moment alone. All
GPUs of one replica (a tensor-parallel group) work in step.
"""

from dataclasses import dataclass, field

from agent.sim.noise import Wave, between, daily, mix

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """One kind of serving, by an engine in the format of vLLM or of Triton. `floor` and `swing` of the daily demand
    curve, `memory` bytes per GPU, `memory_bound` the share of busy time in which memory is read or written. `first` is
    the port of a host's first replica, `step` how far the next one's is."""

    name: str
    role: str
    engine: str
    model: str
    floor: float
    swing: float
    memory: float
    memory_bound: float
    user: str
    owner: str  # unit | container | pod
    first: int
    step: int


POOLS: tuple[PoolSpec, ...] = (
    PoolSpec("chat-70b", "chat", "vllm", "llama-3.3-70b", 0.30, 0.48, 71.6 * GIB, 0.72, "vllm", "unit", 8000, 1),
    PoolSpec("embed", "embed", "triton", "bge-m3", 0.12, 0.62, 9.4 * GIB, 0.38, "triton", "container", 8010, 10),
    PoolSpec("rerank", "rerank", "triton", "bge-reranker", 0.08, 0.40, 6.8 * GIB, 0.30, "triton", "pod", 8010, 10),
)
_HOST_CYCLE = ("chat-70b", "embed", "chat-70b", "rerank", "chat-70b", "chat-70b", "embed", "chat-70b")
_PEAK_HOUR = 15.0
_ROOT = -9  # its place in the process tree, before the first process on a GPU
HOSTS_PER_RACK = 4


def pool_of(host: int) -> PoolSpec:
    """The pool that host number `host` is named after."""
    return pool_named(_HOST_CYCLE[host % len(_HOST_CYCLE)])


def pool_named(name: str) -> PoolSpec:
    """The pool of this name; there is one."""
    return next(pool for pool in POOLS if pool.name == name)


def rack_of(host: int) -> str:
    """`a`, `b` ... `z`, `aa`: the rack of host number `host`."""
    number, letters = host // HOSTS_PER_RACK, ""
    while True:
        number, letter = divmod(number, 26)
        letters = chr(ord("a") + letter) + letters
        if not number:
            return letters
        number -= 1


def host_name(host: int) -> str:
    """`gpu-a01`: rack and place."""
    return f"gpu-{rack_of(host)}{host % HOSTS_PER_RACK + 1:02d}"


@dataclass(slots=True)
class Worker:
    """One process on one GPU. `command` is its command line, or the title that replaced it."""

    pid: int
    gpu: int
    name: str
    command: str


@dataclass(frozen=True, slots=True)
class Ghost:
    """A process that holds a GPU's memory and that no driver lists. `stuck`: no signal ends it."""

    pid: int
    gpu: int
    name: str
    user: str
    started: float
    stuck: bool = False


@dataclass(slots=True, eq=False)
class Replica:
    """One serving process group. `ready_at` is when it takes load again; None while it is down for good. `halted` while
    its engine does no work although it is asked to; `held` is the share of its memory that it holds. `share` is what a
    load balancer makes of its load: 1 its own, 0 none. `shut`: somebody stopped its service, who alone starts it."""

    pool: PoolSpec
    number: int
    gpus: tuple[int, ...]
    key: int
    started: float
    shift: int = 0  # of its port, where others have the usual ones
    workers: list[Worker] = field(default_factory=list)
    ready_at: float | None = 0.0
    full: bool = False  # asked for all that it can do, whatever the hour
    pressed: float | None = None  # asked for so much, whatever the hour
    halted: bool = False
    held: float = 1.0
    share: float = 1.0
    shut: bool = False
    generation: int = 0
    _slow: Wave = field(init=False)
    _middle: Wave = field(init=False)
    _fast: Wave = field(init=False)
    _bias: float = field(init=False)

    def __post_init__(self) -> None:
        self._slow = Wave(311.0, self.key, "slow")
        self._middle = Wave(37.0, self.key, "middle")
        self._fast = Wave(3.0, self.key, "fast")
        self._bias = between(-0.04, 0.04, self.key, "bias")

    @property
    def port(self) -> int:
        """Where it serves."""
        return self.pool.first + self.pool.step * self.number + self.shift

    def asked(self, moment: float) -> float:
        """What its users ask for, whether it runs or not: 1 is what its GPUs do at their highest clocks."""
        if self.full or self.pressed is not None:
            return self.share * (1.05 if self.full or self.pressed is None else self.pressed)
        pool = self.pool
        base = pool.floor + pool.swing * daily(moment, _PEAK_HOUR) + self._bias
        wave = 0.10 * self._slow.at(moment) + 0.09 * self._middle.at(moment) + 0.05 * self._fast.at(moment)
        return self.share * min(1.05, max(0.02, base + wave))

    def demand(self, moment: float) -> float:
        """Work asked of each of its GPUs, 0 to about 1.05."""
        if self.halted or self.ready_at is None or moment < self.ready_at or not self.workers:
            return 0.0
        return min(1.05, self.asked(moment))

    def memory(self, moment: float) -> float:
        """Bytes it holds on each of its GPUs: weights stream in while it starts, then it stays level."""
        if not self.workers:
            return 0.0
        full = self.pool.memory * self.held * (1.0 + 0.01 * self._bias)
        if self.ready_at is None or moment >= self.ready_at:
            return full
        span = max(1.0, self.ready_at - self.started)
        return full * max(0.02, min(1.0, (moment - self.started) / span))

    def start(self, at: float, ready_at: float, generation: int) -> None:
        """New processes, one per GPU."""
        self.started, self.ready_at, self.generation = at, ready_at, generation
        self.workers = [self._worker(self.pid(3 * rank), rank, gpu) for rank, gpu in enumerate(self.gpus)]

    def stop(self) -> None:
        """All its processes on GPUs are gone."""
        self.workers, self.ready_at = [], None

    @property
    def root(self) -> int:
        """The id of its first process: with vLLM an API server, which holds no GPU."""
        return self.pid(_ROOT if self.pool.engine == "vllm" else 0)

    def pid(self, place: int) -> int:
        """The process id at that place of its process tree: 0 is that of its first process on a GPU."""
        return 20_000 + mix(self.key, "pid", self.generation) % 400_000 + place

    def _worker(self, pid: int, rank: int, gpu: int) -> Worker:
        if self.pool.engine == "vllm":
            title = f"VLLM::Worker_TP{rank}" if len(self.gpus) > 1 else "VLLM::EngineCore"
            return Worker(pid, gpu, title[:15], title)
        return Worker(pid, gpu, "tritonserver", " ".join(self.argv()))

    def argv(self) -> tuple[str, ...]:
        """The command line that started it."""
        pool, port = self.pool, self.port
        if pool.engine == "vllm":
            path = f"/models/{pool.model}"
            return ("/opt/vllm/bin/python3", "/opt/vllm/bin/vllm", "serve", path, "--served-model-name", pool.model,
                    "--tensor-parallel-size", str(len(self.gpus)), "--port", str(port), "--max-num-seqs",
                    str(32 * len(self.gpus)), "--shutdown-timeout", "60")  # fmt: skip
        return ("/opt/tritonserver/bin/tritonserver", f"--model-repository=/models/{pool.name}",
                "--model-control-mode=explicit", f"--load-model={pool.model}", "--allow-grpc=false",
                f"--http-port={port}", f"--metrics-port={port + 2}")  # fmt: skip

    def owner(self) -> dict[str, str]:
        """What started it, as the process table names it: unit, container, job, pod."""
        kind, owner = self.pool.owner, {"unit": "", "container": "", "job": "", "pod": ""}
        if kind == "unit":
            owner["unit"] = f"vllm-{self.pool.name}@{self.number}.service"
        elif kind == "container":
            owner["container"] = f"{mix(self.key, 'container') & 0xFFFFFFFFFFFF:012x}"
        else:
            key = mix(self.key, "pod")
            owner["pod"] = f"{key & 0xFFFFFFFF:08x}-{key >> 32 & 0xFFFF:04x}-4{key >> 48 & 0xFFF:03x}-9a3e-{key:012x}"[
                :36
            ]
        return owner
