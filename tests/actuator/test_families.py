"""The registry of the root helper: every family is in it, and it knows exactly the actions that agents offer."""

import importlib
import pkgutil
import subprocess
import sys

import agent.actuator
from agent.actions.specs import SPECS
from agent.actuator.families import FAMILIES
from agent.actuator.family import Family
from tests.actuator.helper import ROOT


def test_every_family_is_registered_under_a_name_of_its_own() -> None:
    names = [info.name for info in pkgutil.iter_modules(agent.actuator.__path__, "agent.actuator.")]
    found = [vars(importlib.import_module(name)).get("FAMILY") for name in names if not name.endswith("__main__")]
    written = {family.name for family in found if isinstance(family, Family)}
    assert written == {family.name for family in FAMILIES}
    assert len(written) == len(FAMILIES)


def test_agents_offer_what_the_helper_knows_and_nothing_else() -> None:
    known = {action.id for family in FAMILIES for action in family.actions}
    assert known == {spec.id for spec in SPECS}


def test_what_a_policy_needs_and_a_look_is_called_is_said_once() -> None:
    looks = [name for family in FAMILIES for name in family.looks]
    assert sorted(set(looks)) == sorted(looks)
    assert not {"key", "policy"} & set(looks), "these two are the helper's own"
    for family in FAMILIES:
        assert not {"actions", "role"} & set(family.keys)
        assert all(action.id.startswith(f"{family.name}.") for action in family.actions)


def test_it_starts_on_pythons_own_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); sys.path.append(sys.argv[1]); import agent.actuator.__main__\n"
        "ours = {name for name in set(sys.modules) - before if name.partition('.')[0] not in sys.stdlib_module_names}\n"
        "print(sorted(name for name in ours if not name.startswith('agent.actuator') and name != 'agent'))\n"
        "print(sorted({'asyncio', 'ssl', 'sqlite3', 'http', 'ctypes'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-IS", "-c", code, ROOT], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (0, "[]\n[]\n"), done.stderr
