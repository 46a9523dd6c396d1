"""Why a host that is watched has no GPUs: an empty list without its reason reads as if all were well."""

from collections.abc import Iterator

from cockpit.fleet.state import Fleet


def no_gpus(fleet: Fleet) -> Iterator[str]:
    """One sentence for each host that answers and has no GPU at all, as its agent tells it."""
    for record in fleet.hosts:
        if record.live and not record.gpus_present and not record.gpus_expected:
            told = next((reason for reason in record.reasons if reason.what == "nvml"), None)
            says = f": {told.says.rstrip('.')}" if told else ""
            hint = f"; {told.hint}" if told and told.hint else ""
            yield f"{record.name} is watched and has no GPUs{says}{hint}"
