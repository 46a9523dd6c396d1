"""The bundle is a whole agent, and nothing but."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cockpit.link.temporary.bundle import BundleError, bundle, contents


def run_from(archive: bytes, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` with the archive and the standard library as its only imports."""
    file = folder / "agent.zip"
    file.write_bytes(archive)
    words = [sys.executable, "-I", "-S", "-B", "-c", f"import sys; sys.path.insert(0, {str(file)!r}); {code}"]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=30)


def test_the_bundle_runs_with_the_standard_library_alone(tmp_path: Path) -> None:
    code = "sys.argv[1:] = ['rules', '--json']; from agent.__main__ import main; main(); import pynvml, msgpack"
    done = run_from(bundle(), tmp_path, code)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"schema": 1' in done.stdout


def test_every_module_of_the_agent_can_be_imported_from_the_bundle(tmp_path: Path) -> None:
    names = [name for name in zipfile.ZipFile(io.BytesIO(bundle())).namelist() if name.endswith(".py")]
    modules = sorted(name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names)
    assert "agent.sources.nvml.worker" in modules
    wanted = [name for name in modules if not name.endswith("__main__")]
    done = run_from(bundle(), tmp_path, f"import importlib\nfor name in {wanted!r}: importlib.import_module(name)")
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_compiled_is_in_it_unless_asked_for() -> None:
    plain = dict(contents())
    assert not [name for name in plain if name.endswith(".so") or name.startswith("psutil/")]
    assert not [name for name in plain if name.startswith("agent/sim/")]
    native = dict(contents(native=True, sim=True))
    assert plain.items() <= native.items()
    assert any(name.startswith("psutil/") and name.endswith(".abi3.so") for name in native)
    assert any(name.startswith("agent/sim/scenarios/") for name in native)


def test_equal_installations_make_equal_bytes() -> None:
    assert bundle() == bundle()


def test_an_installation_without_a_part_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BundleError, match="agent is not installed beside this console"):
        bundle()
