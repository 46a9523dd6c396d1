"""The agent's .deb: a staged tree, its maintainer scripts, and `dpkg-deb`. No debhelper, no chroot, no root.

Everything in it bears one owner, one time and one of three modes, so that equal input makes equal bytes.
"""

import email.utils
import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kit.contents import Tree, one_tree, own, vendored
from kit.errors import BuildError
from kit.share import EXAMPLES, share
from kit.targets import DEB_ARCH, targets
from kit.wheels import ROOT, pins

NAME = "gpu-cockpit-agent"
LIBRARY = f"usr/lib/{NAME}"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
UNITS = (f"{NAME}.service", "gpu-cockpit-actuator.service", "gpu-cockpit-actuator.socket")
CONFIG = "etc/gpu-cockpit/agent.toml"
_DEBIAN = ROOT / "packaging" / "debian"
_SYSTEMD = ROOT / "packaging" / "systemd"
_EXECUTABLE = frozenset({f"usr/bin/{NAME}", *(f"DEBIAN/{name}" for name in SCRIPTS)})


def file_name(version: str, arch: str) -> str:
    """What the package's file is called."""
    return f"{NAME}_{version}_{DEB_ARCH[arch]}.deb"


def files(version: str, arch: str, epoch: int) -> Tree:
    """Everything that is installed, by path."""
    library = {
        **one_tree({target: vendored(pins("agent"), target) for target in targets(arch)}),
        **own("agent", version),
    }
    del library["LICENSE"]
    tree = {f"{LIBRARY}/{path}": content for path, content in library.items()}
    tree |= {f"usr/share/{path}": content for path, content in share(NAME, version, epoch).items()}
    tree |= {f"usr/share/doc/{NAME}/examples/{path.name}": path.read_bytes() for path in sorted(EXAMPLES.iterdir())}
    tree |= {f"usr/share/doc/{NAME}/{name}": content for name, content in _docs().items()}
    tree[f"usr/share/doc/{NAME}/copyright"] = (_DEBIAN / "copyright").read_bytes()
    tree[f"usr/share/doc/{NAME}/changelog.gz"] = gzip.compress(_changelog(version, epoch), 9, mtime=0)
    tree[f"usr/share/doc/{NAME}/CHANGELOG.md.gz"] = gzip.compress((ROOT / "CHANGELOG.md").read_bytes(), 9, mtime=0)
    tree[f"usr/share/lintian/overrides/{NAME}"] = (_DEBIAN / "lintian-overrides").read_bytes()
    tree[f"usr/bin/{NAME}"] = (_DEBIAN / NAME).read_bytes()
    tree |= {f"usr/lib/systemd/system/{unit}": (_SYSTEMD / unit).read_bytes() for unit in UNITS}
    tree[f"usr/lib/sysusers.d/{NAME}.conf"] = (_SYSTEMD / f"{NAME}.sysusers").read_bytes()
    tree[f"usr/lib/tmpfiles.d/{NAME}.conf"] = (_SYSTEMD / f"{NAME}.tmpfiles").read_bytes()
    tree[CONFIG] = (EXAMPLES / "agent.toml").read_bytes()
    return tree


def control(tree: Mapping[str, bytes], version: str, arch: str) -> Tree:
    """What dpkg reads: control, conffiles, checksums, scripts."""
    words = {"VERSION": version, "ARCH": DEB_ARCH[arch], "SIZE": str(sum(map(len, tree.values())) // 1024 + 1)}
    text = (_DEBIAN / "control").read_text("utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    sums = "".join(f"{hashlib.md5(tree[path]).hexdigest()}  {path}\n" for path in sorted(tree) if path != CONFIG)
    made = {"control": text.encode(), "conffiles": f"/{CONFIG}\n".encode(), "md5sums": sums.encode()}
    made["triggers"] = (_DEBIAN / "triggers").read_bytes()
    return {f"DEBIAN/{name}": content for name, content in made.items()} | {
        f"DEBIAN/{name}": (_DEBIAN / name).read_bytes() for name in SCRIPTS
    }


def build(version: str, arch: str, epoch: int) -> bytes:
    """The package.

    Raises:
        BuildError: there is no dpkg-deb, or it refuses.
    """
    dpkg_deb = shutil.which("dpkg-deb")
    if dpkg_deb is None:
        raise BuildError("there is no dpkg-deb here; build on Debian or Ubuntu, or install the package dpkg")
    tree = files(version, arch, epoch)
    with tempfile.TemporaryDirectory() as temporary:
        stage, out = Path(temporary) / "stage", Path(temporary) / "out.deb"
        _stage(stage, {**tree, **control(tree, version, arch)})
        command = [dpkg_deb, "--root-owner-group", "-Zxz", "-z1", "--threads-max=1", "--build", str(stage), str(out)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"dpkg-deb refused: {done.stderr.strip() or done.stdout.strip()}")
        return out.read_bytes()


def _docs() -> Tree:
    """The operators' pages, their links as they are where they are installed."""
    moved = {b"](../examples/": b"](examples/", b"](../systemd/": b"](/usr/lib/systemd/system/"}
    pages = {}
    for path in sorted((ROOT / "packaging" / "docs").glob("*.md")):
        content = path.read_bytes()
        for here, there in moved.items():
            content = content.replace(here, there)
        pages[path.name] = content
    return pages


def _changelog(version: str, epoch: int) -> bytes:
    """What Debian's tools want to read; people read CHANGELOG.md beside it."""
    day = email.utils.formatdate(epoch)
    who = "gpu-cockpit <maintainers@gpu-cockpit.invalid>"
    return f"{NAME} ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- {who}  {day}\n".encode()


def _stage(folder: Path, tree: Mapping[str, bytes]) -> None:
    """The files, with modes that do not depend on anybody's umask."""
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if name in _EXECUTABLE else 0o644)
    for path in (folder, *(found for found in folder.rglob("*") if found.is_dir())):
        path.chmod(0o755)
