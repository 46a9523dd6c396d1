"""PURE. Conditions on a host, its GPUs and processes."""

from agent.wire.specs import Quality, gpu_subject
from cockpit.runbook.conditions.base import Condition, Look, Question, Word

_USED = "gpu.memory.used"
_MIB = 1 << 20


def _live(question: Question) -> Look:
    record = question.fleet.hosts[question.host]
    if record.live and record.last_frame > question.since:
        return Look(Word.HOLDS, f"{record.name} is live", record.last_frame)
    return Look(Word.NOT_YET, f"{record.name} is {record.link.state.value.replace('_', ' ')}")


def _free(question: Question) -> Look:
    """Less of the GPU's memory is in use than a driver itself holds."""
    fleet = question.fleet
    row = fleet.gpu_row(question.host, question.target.subject)
    if row is None or _USED not in fleet.gpus.fields:
        return Look(Word.UNKNOWN, f"nothing is known of the memory of {question.target.name}")
    cell = fleet.gpus.cell(_USED, row)
    at = fleet.gpus.now.mono - (cell.age_s or 0.0)
    if cell.quality is not Quality.OK or cell.value is None or at <= question.since:
        return Look(Word.UNKNOWN, f"the memory of {question.target.name} has not been read again yet")
    limit = float(question.params.get("mib", "1024") or 1024)
    used = cell.value / _MIB
    if used < limit:
        return Look(Word.HOLDS, f"{used:.0f} MiB of {question.target.name} are in use", at)
    return Look(Word.NOT_YET, f"{used:.0f} MiB of {question.target.name} are still in use", at)


def _quiet(question: Question) -> Look:
    """No critical finding is open about it."""
    record = question.fleet.hosts[question.host]
    if not record.live or record.last_frame <= question.since:
        return Look(Word.UNKNOWN, f"{record.name} has told nothing since")
    subjects = {question.target.subject}
    row = question.fleet.replica_row(question.host, question.target.subject)
    facts = record.replica_facts.get(question.fleet.replicas.ids[row]) if row is not None else None
    subjects |= set(map(gpu_subject, facts.gpus)) if facts is not None else set()
    bad = [one for one in record.findings.values() if one.subject in subjects and one.severity.name == "CRITICAL"]
    if bad:
        return Look(Word.NOT_YET, f"{bad[0].rule} is open: {bad[0].text}", record.last_frame)
    return Look(Word.HOLDS, f"nothing critical is open about {question.target.name}", record.last_frame)


CONDITIONS = (
    Condition("host.live", "host", "its host answers", _live),
    Condition("gpu.free", "gpu", "its memory is free, twice in a row", _free, 2),
    Condition("replica.healthy", "replica", "nothing critical is open about it or its GPUs", _quiet),
)
