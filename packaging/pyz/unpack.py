"""The second page of a single-file program: unpack once into a private directory, then run from there.

Compiled modules cannot be loaded out of a zip. They go to ~/.cache/gpu-cockpit/NAME (0700), complete or not at all.
Code is only ever loaded from a directory that nobody but us and root can write to or swap.
"""

import fcntl
import io
import os
import re
import shutil
import stat
import sys
import zipfile

PROGRAM = "@PROGRAM@"
VERSION = "@VERSION@"
DIGEST = "@DIGEST@"
ROOM = "@ROOM@"
VARIABLE = "GPU_COCKPIT_CACHE"
MARK = ".complete"
CANNOT = 3

_ARCHIVE = sys.path[0]
_TAG = f"cp3{sys.version_info[1]}-{os.uname().machine}"
_held: list[int] = []


class _Refused(Exception):
    """A directory is not to be used; says why."""


def run() -> int:
    """Start the program; returns its exit status."""
    if sys.argv[1:2] == ["--install-share"]:
        return _install_share(sys.argv[2:])
    try:
        root = _root()
    except _Refused as refused:
        sys.stderr.write(f"{PROGRAM}: {refused}\n")
        return CANNOT
    except KeyboardInterrupt:
        return 130
    library = os.path.dirname(os.__file__)
    # Nothing of the machine's own packages is ours: no site-packages, no PYTHONPATH, no current directory.
    sys.path[:] = [root, library, *(entry for entry in sys.path if entry.endswith("/lib-dynload"))]
    del sys.modules["unpack"]
    main = __import__(f"{ROOM}.__main__", fromlist=["main"]).main
    return int(main())


def _root() -> str:
    """The directory of the unpacked program, made if need be."""
    base = _base()
    root = os.path.join(base, f"{PROGRAM}-{VERSION}-{DIGEST[:12]}-{_TAG}")
    if not _is_whole(root):
        try:
            _unpack(base, root)
        except OSError as error:
            raise _Refused(
                f"cannot unpack into {base}: {error.strerror or error}; about @MEGABYTES@ MB are needed; "
                f"make room, or name another directory in {VARIABLE}"
            ) from None
    _hold(root)
    return root


def _base() -> str:
    """A directory that we alone can write to.

    Raises:
        _Refused: there is none.
    """
    named = os.environ.get(VARIABLE)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    choices = [named] if named else [os.path.join(cache, "gpu-cockpit"), f"/tmp/gpu-cockpit-{os.geteuid()}"]
    why = []
    for path in choices:
        try:
            _prepare(os.path.abspath(path))
        except _Refused as refused:
            why.append(str(refused))
        except OSError as error:
            why.append(f"{path} cannot be made: {error.strerror or error}")
        else:
            return os.path.abspath(path)
    raise _Refused(f"no private place to unpack to: {'; '.join(why)}; name a directory of yours in {VARIABLE}")


def _prepare(path: str) -> None:
    """`path` is a directory of ours alone, below directories that nobody else could swap it in."""
    parent = os.path.dirname(path)
    os.makedirs(parent, 0o700, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise _Refused(f"{path} is no directory")
    if found.st_uid != os.geteuid():
        raise _Refused(f"{path} belongs to user {found.st_uid}")
    if found.st_mode & 0o022:
        raise _Refused(f"{path} can be written by others")
    above = os.path.realpath(parent)
    while True:
        found = os.stat(above)
        if found.st_uid not in (0, os.geteuid()):
            raise _Refused(f"{above}, above {path}, belongs to user {found.st_uid}")
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
            raise _Refused(f"{above}, above {path}, can be written by others")
        if above == "/":
            break
        above = os.path.dirname(above)
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        raise _Refused(f"{path} is on a file system that nothing may be run from (noexec)")


def _is_whole(root: str) -> bool:
    """Whether all is there. Looked at closely once after each boot: a power cut may leave files empty."""
    boot = _boot()
    try:
        with open(os.path.join(root, MARK), encoding="ascii") as mark:
            if mark.read() == boot:
                return True
    except (OSError, ValueError):
        pass
    if not os.path.isdir(root):
        return False
    for archive in _payload():
        for item in archive.infolist():
            try:
                if os.lstat(os.path.join(root, item.filename)).st_size != item.file_size:
                    return False
            except OSError:
                return False
    _write(os.path.join(root, MARK), boot.encode())
    return True


def _unpack(base: str, root: str) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"{PROGRAM}: unpacking once into {root}\n")
    _sweep(base, root)
    fresh = os.path.join(base, f".{os.getpid()}-{os.path.basename(root)}")
    try:
        for archive in _payload():
            for item in archive.infolist():
                path = os.path.join(fresh, item.filename)
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
                _write(path, archive.read(item))
        _write(os.path.join(fresh, MARK), _boot().encode())
        try:
            os.rename(fresh, root)
        except OSError:
            if not _is_whole(root):  # else: another start of us was quicker
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _payload() -> "list[zipfile.ZipFile]":
    """The archives inside that are for this Python on this machine."""
    with zipfile.ZipFile(_ARCHIVE) as outer:
        names = [f"payload/{part}.zip" for part in ("any", os.uname().machine, _TAG)]
        known = set(outer.namelist())
        if names[1] not in known and names[2] not in known:
            raise _Refused(f"{_ARCHIVE} was not built for {os.uname().machine} machines; take the one that was")
        return [zipfile.ZipFile(io.BytesIO(outer.read(name))) for name in names if name in known]


def _sweep(base: str, root: str) -> None:
    """Remove what is not whole here, what a killed start left, and other versions that nobody runs now."""
    if os.path.isdir(root) and not _is_whole(root):  # whole: another start of us was quicker, and runs it
        _remove_unused(root)
    for name in os.listdir(base):
        path = os.path.join(base, name)
        owner = name[1:].partition("-")[0]
        if name.startswith(".") and owner.isdecimal() and not os.path.exists(f"/proc/{owner}"):
            shutil.rmtree(path, ignore_errors=True)
        elif re.fullmatch(rf"{PROGRAM}-\d.*-[0-9a-f]{{12}}-{_TAG}", name) and path != root:
            _remove_unused(path)


def _remove_unused(path: str) -> None:
    try:
        mark = os.open(os.path.join(path, MARK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass  # somebody runs it
    finally:
        os.close(mark)


def _hold(root: str) -> None:
    """Keep other starts from removing what we run, until we end."""
    try:
        mark = os.open(os.path.join(root, MARK), os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        raise _Refused(f"{root} is being removed by another version of {PROGRAM} ({error}); start it again") from None
    _held.append(mark)


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def _write(path: str, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)


def _install_share(words: "list[str]") -> int:
    """Man pages and shell completion, which a single file cannot have lying where shells look for them."""
    if len(words) > 1:
        sys.stderr.write(f"{PROGRAM}: --install-share takes one directory (default ~/.local/share)\n")
        return 2
    target = os.path.abspath(os.path.expanduser(words[0] if words else "~/.local/share"))
    try:
        with zipfile.ZipFile(_ARCHIVE) as outer:
            for name in outer.namelist():
                if name.startswith("share/"):
                    path = os.path.join(target, name.removeprefix("share/"))
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with open(path, "wb") as file:
                        file.write(outer.read(name))
                    print(path)
    except OSError as error:
        sys.stderr.write(f"{PROGRAM}: cannot write to {target}: {error.strerror or error}\n")
        return 1
    return 0
