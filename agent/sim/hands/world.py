"""What executors of a simulated host see and touch: its agent's facts, its root helper, the doors of its engines."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.actions.base import Inside, Root
from agent.actions.evidence import Evidence
from agent.sim.hands.crew import Crew
from agent.sim.hands.root import SimRoot
from agent.sim.hands.service import Service
from agent.sim.serving.engine import Life, Mood

_UNLOAD, _LOAD = "/unload", "/load"
_MODELS = "/v2/repository/models/"
_TRITON_UNLOADS_S = 1.0


class SimWorld:
    """The world of one simulated host. `root` is what it does things through; `inside` what its agent lends."""

    def __init__(self, root: SimRoot, inside: Inside) -> None:
        self.clock = inside.clock
        self.root: Root = root
        self.evidence: Evidence | None = inside.evidence
        self._crew: Crew = root.site.crew
        self._inside = inside

    def facts(self, section: str) -> Any:
        """A section of the host's facts as last told."""
        return self._inside.facts(section)

    async def let_go(self, released: bool, deadline_s: float) -> bool:
        """As the agent does it."""
        return await self._inside.let_go(released, deadline_s)

    def refresh(self, section: str) -> None:
        """As the agent does it."""
        self._inside.refresh(section)

    async def post(self, replica: str, path: str, body: bytes = b"", deadline_s: float = 5.0) -> tuple[int, str]:
        """What the engine says to it, once it has done it."""
        del body
        self._crew.now()
        port = replica.rpartition(":")[2]
        found = self._crew.by_port(int(port)) if port.isdigit() else None
        if found is None or not found.engine.open(found.replica.port):
            raise ConnectionRefusedError(f"nobody listens at port {port[:5] or '-'}")
        if found.engine.mood is Mood.MUTE:
            raise TimeoutError(f"no answer within {deadline_s:g} s")
        if found.replica.pool.engine == "vllm":
            return await self._vllm(found, path)
        return await self._triton(found, path)

    async def _vllm(self, found: Service, path: str) -> tuple[int, str]:
        """Its calls of development mode; without that there are none."""
        url = urlsplit(path)
        number, engine = self._crew.number(found), found.engine
        if not engine.dev or url.path not in ("/pause", "/resume"):
            return 404, '{"detail":"Not Found"}'
        if url.path == "/resume":
            self._crew.do("engine.resume", replica=number)
            return 200, '{"status":"resumed"}'
        mode = parse_qs(url.query).get("mode", ["abort"])[0]
        took_s = engine.finishes_s() if mode == "wait" and engine.mood is Mood.WELL else 0.0
        self._crew.do("engine.pause", replica=number, mode=mode, took_s=f"{took_s:.3f}")
        await self._crew.until(lambda: engine.mood is not Mood.LEAVING or engine.life is not Life.UP)
        return 200, '{"status":"paused"}'

    async def _triton(self, found: Service, path: str) -> tuple[int, str]:
        """Its repository's calls: a model is unloaded at once and loaded while one waits."""
        number, engine, model = self._crew.number(found), found.engine, found.replica.pool.model
        if path == f"{_MODELS}{model}{_UNLOAD}":
            self._crew.do("engine.pause", replica=number, mode="wait", took_s=f"{_TRITON_UNLOADS_S}")
            return 200, ""
        if path == f"{_MODELS}{model}{_LOAD}":
            self._crew.do("engine.resume", replica=number)
            await self._crew.until(lambda: engine.mood is Mood.WELL or engine.life is not Life.UP)
            return 200, ""
        return 404, '{"error":"Not Found"}'
