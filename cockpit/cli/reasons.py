"""Why a host that is watched has no GPUs or no replicas: an empty list without its reason reads as if all were well."""

from collections.abc import Iterator

from cockpit.fleet.state import Fleet

_NAMED = 5


def no_gpus(fleet: Fleet) -> Iterator[str]:
    """One sentence for each host that answers and has no GPU at all, as its agent tells it."""
    for record in fleet.hosts:
        if record.live and not record.gpus_present and not record.gpus_expected:
            told = next((reason for reason in record.reasons if reason.what == "nvml"), None)
            says = f": {told.says.rstrip('.')}" if told else ""
            hint = f"; {told.hint}" if told and told.hint else ""
            yield f"{record.name} is watched and has no GPUs{says}{hint}"


def no_replicas(fleet: Fleet) -> Iterator[str]:
    """Why nothing serves models: agents that do not look, agents that cannot, or hosts where nothing does."""
    live = [record for record in fleet.hosts if record.live]
    old = [record.name for record in live if not record.replicas_known]
    if old:
        names = ", ".join(old[:_NAMED]) + (f" and {len(old) - _NAMED} more" if len(old) > _NAMED else "")
        yield f"agents that are too old to look for replicas: {names}"
    for record in live:
        for reason in record.reasons:
            if reason.what.startswith(("serving", "replica")):
                hint = f"; {reason.hint}" if reason.hint else ""
                yield f"{record.name}: {reason.says.rstrip('.')}{hint}"
    if live and not old:
        yield f"nothing that serves models was ever seen on {len(live)} host{'s' if len(live) > 1 else ''}"
