"""Models of the Hugging Face Hub as folders on this machine: looked up in its cache first, fetched at most once."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import msgspec

from backbones.errors import BackboneError
from backbones.foreign import first_line, needed

CONTACT_S = 10.0
WEIGHTS = "model*.safetensors"
BESIDE = ("*.json", "*.txt", "*.model")


def fetched(
    repository: str,
    backbone: str,
    extra: str,
    *,
    revision: str | None = None,
    weights: str = WEIGHTS,
    wanted: Sequence[str] = (),
) -> Path:
    """The folder of `repository` ("owner/model") at `revision` (a branch, tag or commit; None: main).

    `weights`: which files hold them; `wanted`: what it is of no use without, too. `backbone`, `extra`: what the user
    asked for, and the extra that it needs.

    What has been fetched before is taken as it is, without asking the hub: the same name then means the same weights
    in every process, until the user deletes it from the cache. Beside the weights JSON and vocabularies are fetched.
    Raises BackboneError, within about `CONTACT_S` seconds if the hub cannot be reached.
    """
    hub = needed("huggingface_hub", extra, backbone)
    files, here = [*BESIDE, weights], ""
    try:
        cached = Path(hub.snapshot_download(repository, revision=revision, allow_patterns=files, local_files_only=True))
        lacking = _lacking(cached, weights, wanted)  # another program may have fetched other files of it
        if lacking is None:
            return cached
        here = f"; what was fetched before lacks {lacking}"
    except FileNotFoundError:  # not there, or not all of it
        pass
    except ValueError as error:
        raise BackboneError(
            f"backbone {backbone!r}: {repository!r} is neither a folder here nor owner/model"
        ) from error
    try:
        found = hub.HfApi().model_info(repository, revision=revision, timeout=CONTACT_S)
    except Exception as error:  # errors of the hub's client, of its HTTP library (which changes) and of the system
        raise BackboneError(f"backbone {backbone!r}: {_why(hub, repository, revision, error)}{here}") from error
    if not any(fnmatch(each.rfilename, weights) for each in found.siblings):
        raise BackboneError(
            f"backbone {backbone!r}: {repository} has no {weights}, the only kind of weights that is read"
        )
    try:
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=files))
    except Exception as error:
        raise BackboneError(f"backbone {backbone!r}: {_why(hub, repository, revision, error)}") from error


class _Index(msgspec.Struct):
    """Where each weight lies, when they are spread over several files."""

    weight_map: dict[str, str]


def _lacking(folder: Path, weights: str, wanted: Sequence[str]) -> str | None:
    """The first file, or pattern of one, that is missing in `folder`; None if all are there."""
    for pattern in (weights, *wanted):
        if not any(folder.glob(pattern)):
            return pattern
    if not all("-of-" in path.name for path in folder.glob(weights)):
        return None  # the weights are one file
    index = next(folder.glob(f"{weights}.index.json"), None)
    if index is None:
        return f"{weights}.index.json"
    try:
        shards = set(msgspec.json.decode(index.read_bytes(), type=_Index).weight_map.values())
    except msgspec.MsgspecError:
        return index.name
    return next((shard for shard in sorted(shards) if not (folder / shard).is_file()), None)


def _why(hub: object, repository: str, revision: str | None, error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"{repository} asks for its terms to be accepted on huggingface.co, then for `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repository} has no revision {revision!r}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"the Hugging Face Hub has no model {repository!r} (or it is private: `hf auth login`)"
    reason = f"{type(error).__name__}: {first_line(error)}"
    return f"the Hugging Face Hub cannot be reached for {repository} ({reason}); a local copy works without it"
