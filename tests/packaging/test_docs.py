"""What the operators' pages claim is so: links lead somewhere, states are explained, reasons exist, numbers fit."""

import re
import subprocess
from pathlib import Path

import pytest

from cockpit.fleet.link_state import LinkState
from tests.lab import has_command, require
from tests.packaging.builds import PACKAGING, ROOT

DOCS = PACKAGING / "docs"
UNITS = [PACKAGING / f"systemd/gpu-cockpit-{name}.service" for name in ("agent", "actuator")]
PAGE = (DOCS / "operators.md").read_text()


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_state_of_a_link_is_explained() -> None:
    told = {state for row in re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE) for state in re.findall(r"`(\w+)`", row)}
    assert {state.value for state in LinkState} - {LinkState.LIVE.value} <= told


def test_every_reason_it_names_is_one_of_the_agents() -> None:
    named = {
        code for row in re.findall(r"^\| reason (.*?) \|", PAGE, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)
    }
    sources = "".join(path.read_text() for path in (ROOT / "agent").rglob("*.py"))
    assert named
    assert [code for code in named if f'"{code}"' not in sources] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_every_relaxation_of_the_unit_is_in_its_table(unit: Path) -> None:
    relaxed = re.findall(r"^(\w+)=(?:no|default|all)$", unit.read_text(), re.MULTILINE)
    assert relaxed
    assert [name for name in relaxed if f"`{name}=" not in PAGE] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_the_exposure_it_states_is_what_systemd_says(unit: Path) -> None:
    require("systemd", has_command("systemd-analyze"))
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    said = subprocess.run(words, capture_output=True, text=True, timeout=20).stdout
    found = re.search(r"Overall exposure level.*: ([0-9.]+)", said)
    stated = re.search(rf"`systemd-analyze security {unit.stem}` says ([0-9.]+)", PAGE)
    assert found is not None
    assert stated is not None
    assert abs(float(found[1]) - float(stated[1])) <= 0.3, "another systemd may weigh a little differently"
