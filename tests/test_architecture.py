"""The house keeps its shape: layers, import hygiene, sizes, registries, and nothing that trusts a host key blindly."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("agent/**/*.py"), *ROOT.glob("cockpit/**/*.py")])
MODULE_LINES = 500
TUI_LINES = 350
FUNCTION_LINES = 60

HYGIENE = [
    ("agent.wire.codec", ["asyncio", "psutil", "pynvml", "numpy", "textual", "asyncssh"]),
    ("agent.cli", ["textual", "asyncssh", "numpy", "rich"]),
    ("agent.detect", ["asyncio", "socket", "psutil", "pynvml"]),
    ("agent.witness", ["asyncio", "socket", "psutil", "pynvml"]),
    ("agent.app", ["pynvml", "textual", "asyncssh", "numpy", "sqlite3"]),
    ("cockpit.fleet.state", ["asyncio", "socket", "textual", "asyncssh", "psutil"]),
    ("cockpit.cli", ["textual", "asyncssh", "numpy", "asyncio"]),
    ("cockpit.runtime", ["textual", "asyncssh"]),
    ("cockpit.tui.app", ["asyncssh"]),
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
        "try: main(['once', '--json'])\nexcept SystemExit: pass\n"
        "print(' '.join(m for m in ('asyncio', 'textual', 'asyncssh', 'zeroconf', 'numpy') if m in sys.modules),"
        " file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30)
    assert not result.stderr.strip()
    assert result.stdout.startswith("{")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    limit = TUI_LINES if "tui" in path.parts else MODULE_LINES
    assert text.count("\n") <= limit, f"{path} has more than {limit} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{path}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_its_rule(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_nothing_trusts_or_executes_blindly() -> None:
    forbidden = [r"known_hosts\s*=\s*None", r"shell\s*=\s*True", r"except Exception:\s*pass", r"\bos\.system\("]
    for path in SOURCES:
        text = path.read_text()
        for pattern in forbidden:
            assert not re.search(pattern, text), f"{path} matches {pattern}"


def _modules(package: str) -> set[str]:
    module = importlib.import_module(package)
    return {info.name for info in pkgutil.iter_modules(module.__path__)}


def test_every_rule_family_is_registered() -> None:
    from agent.detect.rules import RULES

    registered = {rule.check.__module__.rsplit(".", 1)[-1] for rule in RULES}
    assert registered == _modules("agent.detect.rules")


def test_every_scenario_of_a_rule_exists() -> None:
    from agent.detect.rules import RULES
    from agent.sim.scenario import names

    for rule in RULES:
        assert set(rule.spec.scenarios) <= set(names()), rule.spec.id
