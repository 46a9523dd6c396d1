"""How many NVIDIA GPUs the PCI bus has, whatever the driver says. Reads each device's class once."""

import os
from pathlib import Path

SYS_BUS_PCI = Path("/sys/bus/pci/devices")
_NVIDIA = "0x10de"
_GPU_CLASSES = ("0x0300", "0x0302")  # VGA controller, 3D controller


class PciBus:
    """Functions on the bus. A function that comes or goes is noticed; what one is never changes."""

    def __init__(self, devices: Path = SYS_BUS_PCI) -> None:
        self._devices = devices
        self._is_gpu: dict[str, bool] = {}

    def gpus(self) -> tuple[str, ...] | None:
        """PCI addresses (`0000:91:00.0`) of all NVIDIA GPUs, None where there is no PCI bus to look at."""
        try:
            names = os.listdir(self._devices)
        except OSError:
            return None
        known = self._is_gpu
        for name in names:
            if name not in known:
                known[name] = self._judge(name)
        return tuple(sorted(name for name in names if known[name]))

    def _judge(self, name: str) -> bool:
        """Whether this function is an NVIDIA GPU."""
        folder = self._devices / name
        try:
            vendor = (folder / "vendor").read_text(encoding="ascii").strip().lower()
            if vendor != _NVIDIA:
                return False
            return (folder / "class").read_text(encoding="ascii").strip().lower().startswith(_GPU_CLASSES)
        except (OSError, ValueError):  # gone between listing and reading, or unreadable: not counted
            return False
