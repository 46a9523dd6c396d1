"""What the packages run on: the Pythons of Debian 12 and 13 and Ubuntu 24.04, glibc 2.28 or newer."""

from dataclasses import dataclass

PYTHONS = ("3.11", "3.12", "3.13")
ARCHES = ("x86_64", "aarch64")
DEB_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_GLIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010")


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One Python on one kind of machine."""

    python: str
    arch: str

    @property
    def tag(self) -> str:
        """CPython's own name for it: `cp311`."""
        return f"cp{self.python.replace('.', '')}"

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags of wheels that load there."""
        return tuple(f"{glibc}_{self.arch}" for glibc in _GLIBC)

    def accepts(self, wheel: str) -> bool:
        """Whether the wheel of this file name is for us."""
        python, abi, platform = wheel.removesuffix(".whl").split("-")[-3:]
        if platform != "any" and not set(platform.split(".")) & set(self.platforms):
            return False
        if abi == "abi3":
            return any(_number(tag) <= _number(self.tag) for tag in python.split("."))
        return abi == self.tag or (abi == "none" and bool({"py3", self.tag} & set(python.split("."))))


def targets(*arches: str) -> tuple[Target, ...]:
    """Every Python on these machines."""
    return tuple(Target(python, arch) for arch in arches for python in PYTHONS)


def _number(tag: str) -> int:
    return int(tag.removeprefix("cp3"))
