"""The house keeps its shape: layers, import hygiene, sizes, registries, and nothing that trusts a host key blindly."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("agent/**/*.py"), *ROOT.glob("cockpit/**/*.py")])
MODULE_LINES = 500
TUI_LINES = 350
FUNCTION_LINES = 60

HYGIENE = [
    ("agent.wire.codec", ["asyncio", "psutil", "pynvml", "numpy", "textual", "asyncssh"]),
    ("agent.cli", ["textual", "asyncssh", "numpy", "rich"]),
    ("agent.detect", ["asyncio", "socket", "psutil", "pynvml"]),
    ("agent.witness", ["asyncio", "socket", "psutil", "pynvml"]),
    ("agent.app", ["pynvml", "textual", "asyncssh", "numpy", "sqlite3", "zeroconf"]),
    ("agent.cli.run", ["pynvml", "textual", "asyncssh", "numpy", "zeroconf", "ifaddr"]),
    ("cockpit.fleet.state", ["asyncio", "socket", "textual", "asyncssh", "psutil"]),
    ("cockpit.cli", ["textual", "asyncssh", "numpy", "asyncio"]),
    ("cockpit.cli.discover", ["textual", "asyncssh", "zeroconf", "ifaddr"]),
    ("cockpit.cli.doctor", ["textual", "zeroconf"]),
    ("cockpit.runtime", ["textual", "asyncssh", "zeroconf"]),
    ("cockpit.tui.app", ["asyncssh", "zeroconf"]),
]


def test_layers_and_contracts_hold() -> None:
    result = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("module", "kept_out"), HYGIENE, ids=[name for name, _ in HYGIENE])
def test_import_leaves_heavy_packages_alone(module: str, kept_out: list[str]) -> None:
    code = f"import {module}, sys; print(' '.join(m for m in {kept_out!r} if m in sys.modules))"
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    assert not result.stdout.strip()


def test_once_path_imports_no_event_loop() -> None:
    code = (
        "import sys; from agent.__main__ import main\n"
        "try: sys.argv[1:] = ['once', '--json']; main()\nexcept SystemExit: pass\n"
        "heavy = ('asyncio', 'sqlite3', 'textual', 'asyncssh', 'zeroconf', 'numpy')\n"
        "print(' '.join(m for m in heavy if m in sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30)
    assert not result.stderr.strip()
    assert result.stdout.startswith("{")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    limit = TUI_LINES if "tui" in path.parts else MODULE_LINES
    assert text.count("\n") <= limit, f"{path} has more than {limit} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{path}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_its_rule(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_nothing_trusts_or_executes_blindly() -> None:
    forbidden = [r"known_hosts\s*=\s*None", r"shell\s*=\s*True", r"except Exception:\s*pass", r"\bos\.system\("]
    for path in FILES:
        text = path.read_text()
        for pattern in forbidden:
            assert not re.search(pattern, text), f"{path} matches {pattern}"


# Registries are explicit tuples: what lies in a folder and is in no tuple would be dead code that looks alive.


def _defined(package: str) -> Iterator[object]:
    """Everything that the modules of a package define or import at their top."""
    for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        yield from vars(importlib.import_module(info.name)).values()


def _classes(package: str, base: type = object) -> set[type]:
    """The classes below `base` that are written in this package."""
    found = {value for value in _defined(package) if isinstance(value, type) and issubclass(value, base)}
    return {kind for kind in found if kind.__module__.startswith(f"{package}.")}


def test_every_rule_is_registered() -> None:
    from agent.detect.rule import Rule
    from agent.detect.rules import RULES

    written = {value.id for value in _defined("agent.detect.rules") if isinstance(value, Rule)}
    assert written == {rule.id for rule in RULES}
    assert len(written) == len(RULES)


def test_every_executor_is_registered() -> None:
    from agent.actions.registry import ACTIONS

    folders = {info.name for info in pkgutil.iter_modules(importlib.import_module("agent.actions").__path__)}
    modules = [importlib.import_module(f"agent.actions.{name}") for name in sorted(folders)]
    written = [one.spec.id for module in modules for one in getattr(module, "EXECUTORS", ())]
    assert sorted(written) == sorted(action.spec.id for action in ACTIONS)
    assert len(written) == len(set(written)) > 0


def test_every_scenario_that_a_rule_names_is_registered() -> None:
    from agent.detect.rules import RULES
    from agent.sim.scenario import SCENARIOS

    named = {scenario for rule in RULES for scenario in rule.spec.scenarios}
    assert named
    assert named <= set(SCENARIOS)


def test_every_scenario_file_is_registered() -> None:
    from agent.sim.scenarios import FOLDERS

    root = ROOT / "agent/sim/scenarios"
    assert set(root.rglob("*.toml")) == {root / folder / f"{name}.toml" for name, folder in FOLDERS.items()}


def test_every_runbook_of_the_library_is_registered() -> None:
    from cockpit.runbook.shelf import LIBRARY

    files = (ROOT / "cockpit/runbook/library").glob("*.toml")
    assert sorted(path.stem for path in files) == sorted(LIBRARY)


def test_every_serving_engine_is_registered_under_a_name_of_its_own() -> None:
    from agent.engines.engine import Engine
    from agent.engines.registry import ENGINES

    written = {value.name for value in _defined("agent.engines") if isinstance(value, Engine)}
    assert written == {engine.name for engine in ENGINES}
    assert len(written) == len(ENGINES)


async def test_every_source_is_registered_and_no_signal_twice() -> None:
    from agent.cli.sources import SOURCES, Site, build
    from agent.clock import SystemClock
    from agent.config import AgentConfig, HostIdentity
    from agent.recorder import Recorder
    from agent.sampler import self_metrics

    promises = ("name", "signals", "read", "watch", "close")
    written = {kind for kind in _classes("agent.sources") if all(hasattr(kind, name) for name in promises)}
    clock, identity = SystemClock(), HostIdentity("h1", "gpu-node-01", "boot-1")
    sources = build(Site(AgentConfig(), identity, clock, Recorder.ephemeral(clock, "boot-1"), {}), SOURCES)
    for source in sources:
        await source.close()
    assert {type(source) for source in sources} == written
    names = [spec.name for signals in (*(s.signals for s in sources), self_metrics.SIGNALS) for spec in signals]
    assert sorted(set(names)) == sorted(names)


def test_every_place_is_registered_under_a_key_of_its_own() -> None:
    from cockpit.tui.screens import LATER, SCREENS
    from cockpit.tui.screens.place import Place

    written = {kind for kind in _classes("cockpit.tui.screens", Place) if vars(kind).get("key")}
    assert {spec.screen for spec in SCREENS} == written
    assert all(spec.screen.key == spec.key for spec in SCREENS)
    keys = [spec.key for spec in SCREENS]
    assert sorted({*keys, *LATER}) == sorted([*keys, *LATER])


def test_every_frame_is_registered_under_a_kind_of_its_own() -> None:
    from agent.wire import actions, frames, requests
    from agent.wire.codec import FRAMES

    named = [*vars(actions).values(), *vars(frames).values(), *vars(requests).values()]
    written = {kind for kind in named if isinstance(kind, type) and hasattr(kind, "KIND")}
    assert set(FRAMES) == written
    assert len({frame.KIND for frame in FRAMES}) == len(FRAMES)
