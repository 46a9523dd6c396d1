"""What is wrong with a page that should tell an engine's progress, as one sentence; and what of it can still be used.
PURE."""

from agent.config.serving import Serving
from agent.engines.answer import Answer
from agent.engines.engine import Engine
from agent.engines.sample import ReplicaSample

NOT_OFFERED = (404, 405, 501)
_CLOSED = (401, 403)  # its other pages may answer the same, and then say nothing of how it is
_COUNTED = ("running", "waiting", "progress", "requests", "tokens_out", "kv_usage")
START_SLACK_S = 1.0


def weigh(engine: Engine, metrics: Answer | None, sample: ReplicaSample, table: Serving | None) -> tuple[str, bool]:
    """(one sentence, empty if all is well; whether the sample is to be used all the same)."""
    says = sentence(metrics, sample, table) if metrics is not None else sample.trouble
    if not says or not engine.metrics:
        return says, True
    if metrics is not None and metrics.status in _CLOSED:
        return says, False
    if sample.loading or sample.dead or sample.ready is False:
        return says if metrics is None or metrics.status != 503 else "", True
    counted = any(getattr(sample, name) is not None for name in _COUNTED)
    if metrics is not None and metrics.status in NOT_OFFERED:
        return says, counted or sample.ready is not None
    if metrics is not None and metrics.ok:
        return says, counted
    return says, False


def sentence(metrics: Answer, sample: ReplicaSample, table: Serving | None) -> str:
    """What is wrong with this answer; empty if nothing is."""
    status = metrics.status
    if metrics.failure:
        return metrics.says
    if status in _CLOSED:
        if table is None or table.token_file is None:
            return f"its metrics ask for a token (HTTP {status}): give it one by token_file in [[serving]]"
        return f"it refuses the token in {table.token_file} (HTTP {status}): it may have run out, renew it"
    if 300 <= status < 400:
        return f"its metrics redirect to {metrics.location[:80]!r}, and redirects are not followed"
    if status in NOT_OFFERED:
        return sample.trouble or f"it offers no metrics (HTTP {status})"
    if not metrics.ok:
        return f"its metrics answer HTTP {status}"
    return sample.trouble


def restarted(before: ReplicaSample, now: ReplicaSample) -> bool:
    """Whether its engine began anew in between: it says so, or one of its counters fell."""
    if before.start_time is not None and now.start_time is not None:
        return abs(before.start_time - now.start_time) > START_SLACK_S
    pairs = ((before.progress, now.progress), (before.requests, now.requests), (before.tokens_out, now.tokens_out))
    return any(was is not None and is_now is not None and is_now < was for was, is_now in pairs)
