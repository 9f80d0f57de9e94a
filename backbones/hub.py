"""Models of the Hugging Face Hub as folders on this machine: looked up in its cache first, fetched at most once."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from backbones.errors import BackboneError
from backbones.foreign import first_line, needed

CONTACT_S = 10.0
WEIGHTS = "model*.safetensors"
BESIDE = ("*.json", "*.txt", "*.model")


def fetched(repository: str, backbone: str, extra: str, *, revision: str | None = None, weights: str = WEIGHTS) -> Path:
    """The folder of `repository` ("owner/model") at `revision` (a branch, tag or commit; None: main).

    `weights`: which files hold them. `backbone`, `extra`: what the user asked for, and the extra that it needs.

    What has been fetched before is taken as it is, without asking the hub: the same name then means the same weights
    in every process, until the user deletes it from the cache. Beside the weights JSON and vocabularies are fetched.
    Raises BackboneError, within about `CONTACT_S` seconds if the hub cannot be reached.
    """
    hub = needed("huggingface_hub", extra, backbone)
    files = [*BESIDE, weights]
    try:
        cached = hub.snapshot_download(repository, revision=revision, allow_patterns=files, local_files_only=True)
        if any(Path(cached).glob(weights)):  # another program may have fetched other files of it
            return Path(cached)
    except FileNotFoundError:  # not there, or not all of it
        pass
    except ValueError as error:
        raise BackboneError(
            f"backbone {backbone!r}: {repository!r} is neither a folder here nor owner/model"
        ) from error
    try:
        found = hub.HfApi().model_info(repository, revision=revision, timeout=CONTACT_S)
    except Exception as error:  # errors of the hub's client, of its HTTP library (which changes) and of the system
        raise BackboneError(f"backbone {backbone!r}: {_why(hub, repository, revision, error)}") from error
    if not any(fnmatch(each.rfilename, weights) for each in found.siblings):
        raise BackboneError(
            f"backbone {backbone!r}: {repository} has no {weights}, the only kind of weights that is read"
        )
    try:
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=files))
    except Exception as error:
        raise BackboneError(f"backbone {backbone!r}: {_why(hub, repository, revision, error)}") from error


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
