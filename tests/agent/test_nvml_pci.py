"""The roll call by the PCI bus."""

from pathlib import Path

from agent.sources.nvml.pci import PciBus


def function(bus: Path, name: str, vendor: str = "0x10de", kind: str = "0x030200") -> None:
    folder = bus / name
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{kind}\n")


def test_only_nvidia_display_and_3d_controllers_count(tmp_path: Path) -> None:
    function(tmp_path, "0000:91:00.0")
    function(tmp_path, "0000:0f:00.0", kind="0x030000")
    function(tmp_path, "0000:91:00.1", kind="0x040300")  # its audio function
    function(tmp_path, "0000:05:00.0", kind="0x068000")  # NVSwitch
    function(tmp_path, "0000:00:02.0", vendor="0x8086", kind="0x030000")
    assert PciBus(tmp_path).gpus() == ("0000:0f:00.0", "0000:91:00.0")


def test_a_function_that_comes_or_goes_is_noticed(tmp_path: Path) -> None:
    bus = PciBus(tmp_path)
    function(tmp_path, "0000:91:00.0")
    assert bus.gpus() == ("0000:91:00.0",)
    function(tmp_path, "0000:92:00.0")
    assert len(bus.gpus() or ()) == 2
    for file in (tmp_path / "0000:91:00.0").iterdir():
        file.unlink()
    (tmp_path / "0000:91:00.0").rmdir()
    assert bus.gpus() == ("0000:92:00.0",)


def test_no_bus_is_not_a_bus_without_gpus(tmp_path: Path) -> None:
    assert PciBus(tmp_path / "none").gpus() is None
    assert PciBus(tmp_path).gpus() == ()
