"""CONTRIBUTING's examples, word for word: written into a copy of the tree and run with the product.

Every extension is one file and one line. Whoever makes it need more must change the extension point, not this test.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.wire.specs import Quality
from tests.fakes.nvml import FakeNvml, build_fake_nvml
from tests.fakes.process import AgentProcess
from tests.lab import has_command, require

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"<!-- (file|line): (\S+?)(?: in (\S+))? -->\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECTION = re.compile(r"^### (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """One block: a whole file at `path`, or the line (and import) that goes into the tuple or dict `registry` there."""

    section: str
    path: str
    registry: str
    text: str

    @property
    def imports(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.startswith(("from ", "import "))]

    @property
    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line and line not in self.imports]

    def apply(self, tree: Path) -> None:
        path = tree / self.path
        if not self.registry:
            assert not path.exists(), f"{self.path} exists already: CONTRIBUTING needs another example"
            path.write_text(self.text)
            return
        text = path.read_text()
        before = text.splitlines()
        body = ast.parse(text).body
        (values,) = [node.value for node in body if self.registry in _names(node)]
        last_import = max(node.end_lineno for node in body if isinstance(node, ast.Import | ast.ImportFrom))
        end = values.end_lineno - 1
        assert before[end] in (")", "}"), f"{self.registry} of {self.path} does not end on a line of its own"
        after = [*before[:last_import], *self.imports, *before[last_import:end], *self.lines, *before[end:]]
        path.write_text("\n".join(after) + "\n")


def _names(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def examples() -> list[Example]:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    found = []
    for match in BLOCK.finditer(text):
        section = SECTION.findall(text, 0, match.start())[-1]
        kind, name, path, block = match.groups()
        found.append(Example(section, name if kind == "file" else path, "" if kind == "file" else name, block))
    return found


def copied(folder: Path) -> Path:
    """The product, and the test that guards its registries."""
    for package in ("agent", "cockpit"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "tests/test_architecture.py", folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with every example in it."""
    folder = copied(tmp_path_factory.mktemp("extended"))
    for example in examples():
        example.apply(folder)
    return folder


def environment(tree: Path) -> dict[str, str]:
    """Python finds the product in `tree`, and our fakes behind it."""
    return {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}


def run(tree: Path, *words: str, status: int = 0, timeout_s: float = 50) -> str:
    """Standard output of one command of the copy."""
    done = subprocess.run(words, cwd=tree, env=environment(tree), capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == status, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def script(tree: Path, text: str) -> object:
    """What a few lines of Python print as JSON."""
    check = "import agent, cockpit, sys\nassert agent.__file__.startswith(sys.argv[1])\n"
    return json.loads(run(tree, sys.executable, "-c", check + textwrap.dedent(text), str(tree)))


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def registries(tree: Path, status: int) -> str:
    """The guard of the registries and layers, run on the copy."""
    chosen = ("-k", "registered or layers", "-q", "-p", "no:cacheprovider")
    return run(tree, sys.executable, "-m", "pytest", "tests/test_architecture.py", *chosen, status=status)


def test_every_kind_of_extension_is_one_file_and_one_line() -> None:
    shapes: dict[str, list[str]] = {}
    for example in examples():
        shapes.setdefault(example.section, []).append("line" if example.registry else "file")
        if example.registry:
            assert len(example.lines) == 1
            assert len(example.imports) <= 1
    pair = ["file", "line"]
    assert shapes == {
        "A source": pair,
        "A serving engine": pair,
        "A signal": ["line", "line"],
        "A rule": pair,
        "A scenario": pair,
        "An action": pair,
        "A runbook": pair,
        "A screen": pair,
    }


def test_the_examples_pass_what_every_change_must_pass(tree: Path) -> None:
    run(tree, tool("ruff"), "check", "--fix", "--select", "I", "agent", "cockpit")
    run(tree, tool("ruff"), "check", "--no-cache", "agent", "cockpit")
    run(tree, tool("ruff"), "format", "--check", "--no-cache", "agent", "cockpit")
    assert "passed" in registries(tree, status=0)


@pytest.mark.more
@pytest.mark.timeout(300)
def test_the_examples_are_typed(tree: Path) -> None:
    run(tree, tool("mypy"), "agent", "cockpit", timeout_s=280)


def test_a_file_without_its_line_is_found(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    for example in examples():
        if not example.registry:
            example.apply(folder)
    said = registries(folder, status=1)
    for word in (
        "PressureSource", "bentoml", "host.cpu_starved", "two-gpus-lost.toml", "balancers.refresh", "rest-replica",
        "Links",
    ):  # fmt: skip
        assert word in said
    assert said.count("FAILED") == 7


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A host whose processors are wanted 41.5 % of the time."""
    (tmp_path / "proc/pressure").mkdir(parents=True)
    (tmp_path / "proc/pressure/cpu").write_text("some avg10=50.00 avg60=41.50 avg300=9.00 total=1\n")
    return tmp_path / "proc"


def test_a_quick_source_is_in_one_look(tree: Path, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f'host_id = "h1"\nproc = "{config}"\n')
    command = (sys.executable, "-m", "agent", "once", "--json", "--config", str(file))

    def look() -> dict[str, object]:
        return dict(json.loads(run(tree, *command))["host"]["signals"]["host.cpu.pressure"])

    assert look() == {"value": pytest.approx(0.415), "unit": "1", "quality": "ok"}
    (config / "pressure/cpu").write_text("nonsense\n")
    assert look() == {"value": None, "unit": "1", "quality": "error"}
    (config / "pressure/cpu").unlink()
    assert look() == {"value": None, "unit": "1", "quality": "unsupported"}


@pytest.fixture
def driver(tmp_path: Path) -> FakeNvml:
    require("gcc, which builds the fake NVML", has_command("gcc"))
    fake = FakeNvml(tmp_path, build_fake_nvml(tmp_path / "lib"))
    fake.write(["gpus 2", "field 1 274 80", "fieldret 0 274 3"])
    return fake


@pytest.fixture
def agent(tree: Path, config: Path, driver: FakeNvml, tmp_path: Path) -> Iterator[AgentProcess]:
    process = AgentProcess(tmp_path, {**environment(tree), **driver.env})
    with process.config.open("a") as file:
        file.write(f'proc = "{config}"\n')
    with process:
        yield process


def test_a_new_source_and_a_new_signal_of_the_fake_driver_reach_a_console_of_before(agent: AgentProcess) -> None:
    picture = agent.look()
    uuids = {facts["index"]: uuid for uuid, facts in picture.facts["gpus"].items()}
    assert picture.cells["host.cpu.pressure", "h1"] == (pytest.approx(0.415), Quality.OK)
    assert picture.cells["gpu.power.edpp", uuids[1]] == (pytest.approx(0.8), Quality.OK)
    assert picture.quality("gpu.power.edpp", uuids[0]) is Quality.UNSUPPORTED
    assert picture.value("gpu.power.limit", uuids[0]) is not None


def test_a_new_signal_is_unsupported_where_it_is_not_simulated(tree: Path) -> None:
    text = """
    from agent.sim.machine import Machine
    from agent.sim.nvml import SimNvml
    from agent.sim.rehearsal import EPOCH, HandClock
    from agent.wire.specs import Cadence
    reading = SimNvml(Machine(1, 0, 2, EPOCH), HandClock(EPOCH)).read_now(frozenset(Cadence))
    bad = [quality.word for batch in reading.batches for (name, _), quality in batch.exceptions.items()
           if name == "gpu.power.edpp"]
    print(__import__("json").dumps(bad))
    """
    assert script(tree, text) == ["unsupported", "unsupported"]


def test_a_new_serving_engine_is_recognised_and_read(tree: Path) -> None:
    text = f"""
    import json, pathlib
    from agent.engines.answer import Answer
    from agent.engines.detect import might_serve, recognise
    from agent.engines.evidence import Evidence
    from agent.engines.pages import Pages
    body = pathlib.Path({str(ROOT / "tests/data/serving/bentoml/03-load.prom")!r}).read_bytes()
    told = {{"/metrics": Answer(200, body, "text/plain"), "/readyz": Answer(200)}}
    found = recognise(Evidence(answers=told))
    sample = found.engine.parse(Pages(told))
    print(json.dumps([
        might_serve([("python3", "/usr/bin/bentoml", "serve", "service:echo")]), found.name, sample.models,
        sample.running, sample.requests, sample.errors, sample.shed, sample.e2e.total, sample.progress, sample.ready,
    ]))
    """
    expected = ["a process runs bentoml serve", "bentoml", ["echo"], 4, 2, 1, 2, 2, None, True]
    assert script(tree, text) == expected


def test_a_new_rule_is_listed(tree: Path) -> None:
    items = json.loads(run(tree, sys.executable, "-m", "agent", "rules", "--json"))["items"]
    (found,) = [item for item in items if item["id"] == "host.cpu_starved"]
    assert (found["severity"], found["scope"], found["runbook"]) == ("warning", "host", "host-load")


def test_a_new_rule_opens_after_its_time_and_clears(tree: Path) -> None:
    text = """
    import json
    from agent.clock import Instant
    from agent.detect import Engine
    from agent.sources.base import Batch
    from agent.wire.specs import Cadence, Quality, Scope
    engine, said = Engine("h1", "boot-1"), []
    def live(until, share, quality=Quality.OK):
        global now
        while now < until:
            bad = {} if quality is Quality.OK else {("host.cpu.pressure", "h1"): quality}
            at = Instant(1e9 + now, 1e6 + now)
            engine.observe(Batch(Scope.HOST, Cadence.MEDIUM, at, ("h1",), {"host.cpu.pressure": [share]}, bad))
            said.extend((now, t.change.value, t.finding.rule, t.finding.subject) for t in engine.evaluate(at))
            now += 10
    now = 0
    live(100, 0.0)
    live(300, 0.3)   # not long enough
    live(350, 0.05)
    live(700, 0.3)
    live(800, 0.15)  # between the thresholds: nothing changes
    live(900, None, Quality.UNSUPPORTED)
    live(1300, 0.05)
    print(json.dumps(said))
    """
    assert script(tree, text) == [
        [650, "opened", "host.cpu_starved", "host"],
        [830, "unknown", "host.cpu_starved", "host"],
        [900, "updated", "host.cpu_starved", "host"],
        [1200, "cleared", "host.cpu_starved", "host"],
    ]


def test_a_new_scenario_opens_findings_on_both_its_gpus_and_nowhere_else(tree: Path) -> None:
    text = """
    import json
    from agent.sim.rehearsal import rehearse, timeline
    print(json.dumps([timeline(rehearse("two-gpus-lost", host, 120)) for host in (1, 2)]))
    """
    healthy, faulty = script(tree, text)
    assert healthy == []
    opened = [line.split()[4] for line in faulty if "OPENED gpu.lost" in line]
    assert [name.rpartition("/")[2] for name in opened] == ["GPU4", "GPU5"]
    assert "two-gpus-lost" in run(tree, sys.executable, "-m", "agent", "sim", "scenarios")


def test_a_new_action_is_planned_done_and_refused(tree: Path) -> None:
    text = """
    import asyncio, json
    from agent.actions.registry import BY_ID
    from agent.errors import Refusal
    from tests.agent.actions.executors.house import WHO, House, act
    async def live():
        house, executor, wish = House(), BY_ID["balancers.refresh"], act("balancers.refresh", "host")
        try:
            await executor.preflight(wish, WHO, house)
        except Refusal as error:
            refused = error.code
        house.told["backends"] = [{}, {}]
        found = await executor.preflight(wish, WHO, house)
        result = await executor.run(wish, WHO, found, house, lambda line: None)
        return [refused, found.effect, result.state, house.refreshed]
    print(json.dumps(asyncio.run(live())))
    """
    expected = ["invalid", "2 servers are read at once; nothing changes", "done", ["backends"]]
    assert script(tree, text) == expected


def test_a_new_runbook_is_planned(tree: Path) -> None:
    text = """
    import json
    from tests.cockpit.runbook.scenes import Place
    plan = Place().plan("rest-replica")
    print(json.dumps([[step.kind, step.action or step.condition, step.keep] for step in plan.steps]))
    """
    assert script(tree, text) == [
        ["action", "haproxy.drain", False], ["wait", "server.idle", False], ["ask", "", False],
        ["action", "haproxy.ready", True],
    ]  # fmt: skip


def test_a_new_screen_is_reached_by_its_key_and_shows_every_host(tree: Path) -> None:
    text = """
    import asyncio, json
    from cockpit.fleet.link_state import LinkState
    from tests.tui.screen import press, running, screen_text
    from tests.tui.stage import Stage
    async def show():
        stage = Stage(hosts=3, gpus=1)
        feed = stage.live(3)
        stage.link(stage.hosts[1], LinkState.DENIED, "user watch was refused by [b]gpu-a02[/b]")
        async with running(feed, (100, 70)) as (app, pilot):
            await press(pilot, "0")
            links = screen_text(app)
            await press(pilot, "enter")
            host = type(app.screen).__name__
            await press(pilot, "escape", "question_mark")
            return [links, host, screen_text(app)]
    print(json.dumps(asyncio.run(show())))
    """
    links, host, guide = script(tree, text)
    rows = [line for line in links.splitlines() if "unix:" in line]
    assert [("gpu-a02" in row, "denied" in row) for row in rows] == [(True, True), (False, False), (False, False)]
    assert "user watch was refused by [b]gpu-a02[/b]" in rows[0]
    assert all(" live " in row for row in rows[1:])
    assert host == "HostPage"
    assert [line.split() for line in guide.splitlines() if "place.0" in line] == [["0", "Links", "place.0"]]
