"""GPUs: what the agent does with its own handles, so that the policy decides it as everything else. Looking is free."""

from agent.actuator.family import Action, Arg, Argv, Entry, Family, Job, Key, Values
from agent.actuator.policy import covered

_GPU = Arg(r"|(GPU|MIG)-[A-Za-z0-9-]{1,64}", "")
_MINOR = Arg(r"-1|\d{1,4}", "-1")


def _covers(entry: Entry, values: Values) -> str:
    return covered(entry, "gpus", values["gpu"]) if "gpus" in entry.keys and values["gpu"] else ""


def _nothing(_job: Job) -> tuple[Argv, ...]:
    return ()


def _target(_entry: Entry, values: Values) -> str:
    return f"gpu:{values['gpu']}"


FAMILY = Family(
    "gpu",
    (
        *(Action(f"gpu.{verb}", {"gpu": _GPU}, _covers, _nothing, _target) for verb in ("let_go", "resume")),
        Action("gpu.holders", {"gpu": _GPU, "minor": _MINOR}, _covers, _nothing, _target, role="viewer"),
    ),
    {"gpus": Key("globs")},
)
