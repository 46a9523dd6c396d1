"""Every action that is described is there, and every description holds together."""

import pytest

from agent.actions.registry import ACTIONS, BY_ID
from agent.actions.specs import SPECS
from agent.actions.targets import KINDS
from agent.wire.actions import Risk
from agent.wire.params import KINDS as PARAM_KINDS
from agent.wire.params import one
from agent.wire.shape import pack, unpack
from agent.wire.specs import ActionSpec


def test_every_spec_has_its_executor_and_no_other_one_is_there() -> None:
    assert {spec.id for spec in SPECS} == set(BY_ID)
    assert len(ACTIONS) == len(BY_ID) == len(SPECS)
    assert all(BY_ID[spec.id].spec is spec for spec in SPECS)


@pytest.mark.parametrize("spec", SPECS, ids=[spec.id for spec in SPECS])
def test_a_spec_says_what_it_does_to_whom_and_takes_its_own_defaults(spec: ActionSpec) -> None:
    assert spec.title[0].islower()
    assert spec.help.endswith(".")
    assert spec.subjects
    assert set(spec.subjects) <= set(KINDS)
    assert spec.risk is not Risk.UNKNOWN
    for param in spec.params:
        assert param.kind in PARAM_KINDS
        assert param.help
        if param.default:
            assert one(param, param.default) == param.default
        elif param.kind != "text":
            assert param.needed or not param.default
    assert unpack(ActionSpec, pack(spec)) == spec
