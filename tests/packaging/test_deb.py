"""The .deb as a file: what is in it, for whom, and that it fits what the sources ask for."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.lab import has_command, may_lack, require
from tests.packaging.builds import PACKAGING, ROOT, THIS, interpreter, shared

sys.path.insert(0, str(PACKAGING))
from kit.errors import BuildError
from kit.targets import ARCHES, Target, targets
from kit.wheels import fetch, pins, plain

UNIT = PACKAGING / "systemd/gpu-cockpit-agent.service"
HELPER = PACKAGING / "systemd/gpu-cockpit-actuator.service"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next(shared(tmp_path_factory, "build-deb", "--version", THIS).iterdir())


@pytest.fixture(scope="module")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, unpacked."""
    folder = tmp_path_factory.mktemp("tree")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder


def field(package: Path, name: str) -> str:
    return subprocess.run(["dpkg-deb", "-f", package, name], check=True, capture_output=True, text=True).stdout.strip()


def test_it_says_what_it_is_and_where_it_runs(package: Path) -> None:
    assert package.name == f"gpu-cockpit-agent_{THIS}_amd64.deb"
    assert (field(package, "Version"), field(package, "Architecture")) == (THIS, "amd64")
    depends = field(package, "Depends")
    assert "python3 (>= 3.11~)" in depends
    assert "python3 (<< 3.14~)" in depends
    assert "Debian 12 and 13 and Ubuntu 24.04" in field(package, "Description")


def test_every_file_belongs_to_root_and_none_can_be_written_by_others(package: Path) -> None:
    listed = subprocess.run(["dpkg-deb", "-c", package], check=True, capture_output=True, text=True).stdout.splitlines()
    modes = {line.split()[5]: (line.split()[0], line.split()[1]) for line in listed}
    assert {owner for _, owner in modes.values()} == {"root/root"}
    assert {mode for mode, _ in modes.values()} == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x"}
    assert [name for name, (mode, _) in modes.items() if mode == "-rwxr-xr-x"] == ["./usr/bin/gpu-cockpit-agent"]


def test_it_touches_no_configuration_of_sshd(tree: Path) -> None:
    assert [str(path.relative_to(tree)) for path in (tree / "etc").rglob("*") if path.is_file()] == [
        "etc/gpu-cockpit/agent.toml"
    ]


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_what_it_brings_runs_on_this_python_without_anything_else(tree: Path, version: str) -> None:
    python = interpreter(version)
    may_lack(f"a Python {version}", python is not None)
    code = (
        f"import sys; sys.path.insert(0, {str(tree / 'usr/lib/gpu-cockpit-agent')!r})\n"
        "import msgpack._cmsgpack, psutil, pynvml, zeroconf.asyncio\n"
        "from agent.__main__ import main\n"
        "sys.argv[1:] = ['once', '--json']; sys.exit(main())"
    )
    done = subprocess.run(
        [python, "-IS", "-c", code], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('{"schema": 1')


def test_its_scripts_are_scripts(tmp_path: Path, package: Path) -> None:
    subprocess.run(["dpkg-deb", "-e", package, tmp_path], check=True)
    names = ("preinst", "postinst", "prerm", "postrm")
    for name in names:
        subprocess.run(["sh", "-n", tmp_path / name], check=True)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "conffiles").read_text() == "/etc/gpu-cockpit/agent.toml\n"


@pytest.mark.more
def test_lintian_finds_nothing(package: Path) -> None:
    may_lack("lintian", has_command("lintian"))
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "warning,error", package], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("unit", [UNIT, HELPER], ids=lambda path: path.stem)
def test_the_unit_is_right_and_little_exposed(unit: Path) -> None:
    require("systemd", has_command("systemd-analyze"))
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", unit]
    judged = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert judged.returncode == 0, judged.stdout[-300:]


@pytest.mark.parametrize("unit", [UNIT, HELPER], ids=lambda path: path.stem)
def test_each_relaxation_of_the_sandbox_is_explained(unit: Path) -> None:
    text = unit.read_text()
    for setting in re.findall(r"^(\w+)=(?:no|default|all)$", text, re.MULTILINE):
        assert re.search(rf"(?m)^#.*{setting}", text), f"{setting} is relaxed and nothing says why"
    (kept,) = re.findall(r"(?m)^CapabilityBoundingSet=(.+)$", text)
    for name in kept.split():
        assert re.search(rf"(?m)^#.*{name}", text), f"{name} is kept and nothing says why"


def test_of_all_privileges_the_agent_has_one_and_the_helper_hands_none_on() -> None:
    assert len(re.findall(r"(?m)^CapabilityBoundingSet=CAP_SYSLOG$", UNIT.read_text())) == 1
    assert len(re.findall(r"(?m)^AmbientCapabilities=CAP_SYSLOG$", UNIT.read_text())) == 1
    assert "AmbientCapabilities" not in HELPER.read_text()
    assert "--user gpu-cockpit" in HELPER.read_text()


def test_the_pinned_wheels_are_what_the_sources_ask_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {pin.name: pin for pin in pins("console")}
    for text in project["dependencies"]:
        requirement = Requirement(text)
        name = plain(requirement.name)
        assert name in pinned, f"{name} is not pinned; run packaging/pin"
        assert requirement.specifier.contains(pinned[name].version), f"{name}; run packaging/pin"


def test_every_pin_has_a_wheel_for_every_target() -> None:
    for pin in pins("console"):
        for target in targets(*ARCHES):
            assert pin.wheel(target)


def test_a_wheel_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    pin = next(pin for pin in pins("agent") if pin.name == "msgpack")
    target = Target("3.11", "x86_64")
    forged = tmp_path / pin.wheel(target)
    forged.write_bytes(b"forged")
    with pytest.raises(BuildError, match="is not the file that was pinned"):
        fetch([pin], target, tmp_path)
    assert not forged.exists()


@pytest.mark.parametrize("command", ["build-deb", "build-pyz"])
@pytest.mark.parametrize(
    ("words", "env", "says"),
    [
        (("--version", "not a version"), {}, "must look like"),
        ((), {"SOURCE_DATE_EPOCH": "yesterday"}, "must be seconds since 1970"),
        (("--arch", "mips"), {}, "invalid choice"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    tmp_path: Path, command: str, words: tuple[str, ...], env: dict[str, str], says: str
) -> None:
    done = subprocess.run(
        [sys.executable, PACKAGING / command, tmp_path, *words],
        env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode
    assert says in done.stderr
    assert "Traceback" not in done.stderr
