"""The command `metabench`: makes sure that the five rooms are Metabench's own, then opens the harness.

Other distributions install packages of the same names (there is an `adapters` on PyPI). This door has a name of its
own, so it can say which one stands in the way instead of failing somewhere inside.
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path

ROOMS = ("harness", "adapters", "backbones", "episodes", "results")
_SIGNATURE = '"""Metabench '


def main() -> None:
    """Run the command line; exits with its status: 128 + the signal's number when it is stopped from outside."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        _run()
    except KeyboardInterrupt:
        _leave(signal.SIGINT, None)


def _leave(number: int, frame: object) -> None:
    """Stop as after an error, so that what a run has in temporary folders goes, too."""
    os.write(2, b"stopped; what was finished is stored\n")
    sys.exit(128 + number)


def _run() -> None:
    stranger = foreign_room()
    if stranger is not None:
        sys.exit(f"error: {stranger}")
    # Before torch is imported: idle threads sleep, so that processes do not steal each other's cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from harness.cli.app import main as run

    run()


def foreign_room() -> str | None:
    """One line about a room that is missing or shadowed by another package of its name; None when all are ours."""
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        if spec is None:
            return f"Metabench's package {room!r} is not installed; reinstall metabench"
        origin = Path(spec.origin) if spec.origin else None
        if origin is None or not origin.read_text(encoding="utf-8").startswith(_SIGNATURE):
            place = origin.parent if origin else ", ".join(spec.submodule_search_locations or [])
            return (
                f"the package {room!r} at {place} is not Metabench's but another of the same name: uninstall it "
                f"(`pip uninstall {room}`, then reinstall metabench) or take its folder out of PYTHONPATH"
            )
    return None


if __name__ == "__main__":
    main()
