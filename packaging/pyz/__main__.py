"""The start of a single-file program. Any Python since 2.7 can read this page: it finds one that can read the rest."""

import os
import sys

PROGRAM = "@PROGRAM@"
VERSION = "@VERSION@"
OLDEST, NEWEST = (3, 11), (3, 13)


def is_program(path):
    """Whether it is an interpreter, not a version manager's script that may know of none."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\177ELF"
    except OSError:
        return False


def other_python():
    """Become the newest Python of PATH that will do; else the sentence that says what is needed."""
    archive = os.path.abspath(sys.argv[0])
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
            path = os.path.join(folder, "python3.%d" % minor)
            if folder.startswith("/") and os.access(path, os.X_OK) and is_program(path):
                os.execv(path, [path, archive] + sys.argv[1:])
    found = "%d.%d" % sys.version_info[:2]
    sys.stderr.write(
        "%s: this is Python %s, which it does not run on; install Python 3.11, 3.12 or 3.13 beside it "
        "(it is found in PATH) or call it with one: python3.12 %s\n" % (PROGRAM, found, archive)
    )
    return 2


def main():
    """Answer what needs nothing unpacked; the rest is the unpacked program's."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return other_python()
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write("%s %s\n" % (PROGRAM, VERSION))
        return 0
    import unpack

    return unpack.run()


if __name__ == "__main__":
    sys.exit(main())
