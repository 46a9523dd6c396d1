"""Why there are no GPUs, or not all of them: stable codes, a sentence, what to try."""

from collections.abc import Sequence
from pathlib import Path

from agent.sources.base import Reason
from agent.sources.nvml import codes

WHAT = "nvml"
MODULE_VERSION = Path("/proc/driver/nvidia/version")

LET_GO = Reason(
    WHAT,
    "let_go",
    "The agent has let go of the NVIDIA driver, as it was told to: GPUs are not watched",
    "reset the GPU, then run `gpu-cockpit-agent let-go --resume`",
)
SILENT = Reason(
    WHAT,
    "driver_silent",
    "The NVIDIA driver does not answer: NVML has been initialising for more than 2 s",
    "look for NVRM lines and blocked tasks in the kernel log; a driver that stays silent needs a reboot",
)
NO_GPUS = Reason(
    WHAT,
    "no_gpus",
    "The NVIDIA driver is loaded but reports no GPU",
    "see `dmesg` for NVRM lines; GPUs that are passed through or held by another driver are not reported",
)

_SENTENCES: dict[int, tuple[str, str, str]] = {
    codes.DRIVER_NOT_LOADED: (
        "driver_not_loaded",
        "The NVIDIA kernel driver is not loaded",
        "run `modprobe nvidia`; if that fails, look at `dmesg` for NVRM lines",
    ),
    codes.LIB_RM_VERSION_MISMATCH: (
        "driver_mismatch",
        "The NVIDIA library and the loaded kernel module have different versions",
        "running jobs go on: drain the host, then reload the driver or reboot",
    ),
    codes.NO_PERMISSION: (
        "no_permission",
        "The agent may not open the NVIDIA devices",
        "check the owner and mode of /dev/nvidia* and the sandbox of the unit",
    ),
    codes.UNINITIALIZED: (
        "driver_reloaded",
        "The NVIDIA driver went away while it was being read",
        "nothing if the driver is being reloaded: the agent connects again by itself",
    ),
    codes.BINDING_MISSING: (
        "binding_missing",
        "The Python package nvidia-ml-py is missing or too old",
        "install gpu-cockpit again in its own virtual environment",
    ),
}


def of_failure(code: int, text: str, module_version: Path = MODULE_VERSION) -> Reason:
    """The reason for an NVML that cannot be used."""
    if code == codes.LIBRARY_NOT_FOUND:
        return _no_library(module_version)
    if code == codes.WORKER_DIED:
        return Reason(
            WHAT, "worker_died", f"NVML cannot be read: {text}", "see the agent's log; it tries again by itself"
        )
    if code in _SENTENCES:
        word, says, hint = _SENTENCES[code]
        return Reason(WHAT, word, says, hint)
    return Reason(WHAT, "nvml_error", f"NVML cannot be used: {text} (code {code})", "run `nvidia-smi` and compare")


def _no_library(module_version: Path) -> Reason:
    """No libnvidia-ml.so.1: without a kernel module there is no driver at all."""
    if module_version.exists():
        return Reason(
            WHAT,
            "library_missing",
            "The NVIDIA kernel module is loaded, but libnvidia-ml.so.1 was not found",
            "install the user-space part of the same driver version, or mount it into the container",
        )
    return Reason(
        WHAT,
        "driver_missing",
        "No NVIDIA driver: libnvidia-ml.so.1 was not found",
        "install the NVIDIA driver if this host has GPUs; the host itself is watched all the same",
    )


def of_stuck(pids: Sequence[int]) -> Reason:
    """All workers hang in the driver and cannot be killed."""
    listed = ", ".join(str(pid) for pid in pids)
    return Reason(
        WHAT,
        "workers_stuck",
        f"Both NVML workers hang in the driver and cannot be killed (pids {listed}): no GPU is read",
        "only a reboot frees processes that are stuck in the driver",
    )


def of_refusal(label: str, text: str) -> Reason:
    """Why a GPU that is there cannot be opened."""
    hint = "check /dev/nvidia* and the sandbox of the unit; inside a container, check its device list"
    return Reason(label, "gpu_refused", f"{label} cannot be opened: {text}", hint)


def of_gpu(label: str, state: str, says: str) -> Reason:
    """Why one GPU is not there."""
    return Reason(label, f"gpu_{state}", says, "see the kernel log for its XIDs; a lost GPU usually needs a reboot")
