"""Which files make a runnable agent, and one zip of them. The only place that knows: packages are built from it too.

Without `native` the zip holds Python alone and so serves every machine: msgpack falls back to its own Python, and the
agent reads /proc itself where psutil is missing. Equal installations make equal bytes.
"""

import importlib.util
import io
import zipfile
from collections.abc import Iterator
from importlib.abc import InspectLoader, ResourceLoader
from importlib.resources.abc import Traversable
from typing import Any

from cockpit.errors import CockpitError

PACKAGES = ("agent", "msgpack")
NATIVE_PACKAGES = ("agent", "msgpack", "psutil")
BINDING = "pynvml"
_WITHOUT_SIM = ("agent/sim/",)
_FOREIGN = ("_psaix.py", "_psbsd.py", "_psosx.py", "_pssunos.py", "_pswindows.py")  # psutil on other systems
_TEXTS = (".py", ".tsv", ".toml", ".json")
_LIBRARY = ".so"
_EPOCH = (1980, 1, 1, 0, 0, 0)


class BundleError(CockpitError):
    """This installation lacks a part of the agent."""


def bundle(*, native: bool = False, sim: bool = False) -> bytes:
    """A zip from which `agent` can be imported.

    Raises:
        BundleError: see `contents`.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(contents(native=native, sim=sim)):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def contents(*, native: bool = False, sim: bool = False) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every file, as this installation has them. `native`: compiled parts for this Python and
    machine, psutil with them. `sim`: simulated hosts too.

    Raises:
        BundleError: a part is not installed here.
    """
    for package in NATIVE_PACKAGES if native else PACKAGES:
        for name, content in _files(_root(package), package):
            if (sim or not name.startswith(_WITHOUT_SIM)) and (native or not name.endswith(_LIBRARY)):
                yield name, content
    yield f"{BINDING}.py", _module(BINDING)


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            if entry.name not in ("__pycache__", "tests"):
                yield from _files(entry, name)
        elif entry.name.endswith((*_TEXTS, _LIBRARY)) and entry.name not in _FOREIGN:
            yield name, entry.read_bytes()


def _root(package: str) -> Traversable:
    """The package's folder, be it on disk or in a zip. The package itself is not imported."""
    loader: Any = _loader(package)
    root: Traversable = loader.get_resource_reader(package).files()
    return root


def _module(name: str) -> bytes:
    loader = _loader(name)
    assert isinstance(loader, ResourceLoader)
    return loader.get_data(loader.get_filename(name))  # type: ignore[attr-defined]


def _loader(name: str) -> InspectLoader:
    found = importlib.util.find_spec(name)
    if found is None or not isinstance(found.loader, InspectLoader):
        raise BundleError(
            f"{name} is not installed beside this console, so no agent can be brought along; reinstall it"
        )
    return found.loader
