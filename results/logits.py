"""Logits that a run kept: one safetensors file for each block of episodes, found again by the keys of their rows.

They lie under `<out>/logits/<domain>/<adapter>-<configuration>/<block>.safetensors`. A block's tensors hold its
episodes one after the other:

    logits     (sum of queries x way,) as computed, float32 or float64; each episode row by row
    ways       (n,) int64, classes of each episode
    queries    (n,) int64, queries of each episode
    labels     (sum of queries,) int64, the truth, in the order in which the adapter was asked
    predicted  (sum of queries,) int64, the class with the highest logit
    position   (sum of queries,) int64, where the query stands in the plan's episode

The file's metadata hold, as JSON, the list `episodes` of (key, episode_hash, task), and what the rows of the block say:
domain, adapter, hyperparameters, backbone, dtype, flags.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from results.errors import LogitsError
from results.files import write_whole
from results.identity import Row, canonical_hash

SUFFIX = ".safetensors"
FACTS = ("domain", "adapter", "hyperparameters", "backbone", "dtype", "flags")
_PER_QUERY = ("labels", "predicted", "position")


class EpisodeLogits(NamedTuple):
    """One episode's answers. `key`: of its row; `logits` (m, way); `labels`, `predicted`, `position` (m,), see above;
    `task`: its position in the plan under which it was computed."""

    key: str
    episode_hash: str
    task: int
    logits: np.ndarray
    labels: np.ndarray
    position: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The class with the highest logit, the first of several."""
        return self.logits.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """Fraction of the queries."""
        return float((self.predicted == self.labels).mean())


def logits_folder(
    out: Path,
    *,
    adapter: str,
    adapter_hash: str,
    backbone_hash: str,
    flags: Mapping[str, Any],
    domain: str,
    records_hash: str,
) -> Path:
    """Where the logits of one configuration on one domain lie: all that a row's key is made of, but the episode."""
    configuration = canonical_hash([adapter_hash, backbone_hash, dict(flags), domain, records_hash])
    return out / "logits" / _plain(domain) / f"{_plain(adapter)}-{configuration[:16]}"


def write_logits(folder: Path, episodes: Sequence[EpisodeLogits], row: Row) -> Path:
    """Keep a block of episodes; `row`: one of theirs, for what they have in common. Raises WriteError."""
    from safetensors.numpy import save

    tensors = {
        "logits": np.concatenate([episode.logits.reshape(-1) for episode in episodes]),
        "ways": np.array([episode.logits.shape[1] for episode in episodes], np.int64),
        "queries": np.array([len(episode.labels) for episode in episodes], np.int64),
        **{n: np.concatenate([getattr(episode, n) for episode in episodes]).astype(np.int64) for n in _PER_QUERY},
    }
    names = [(episode.key, episode.episode_hash, episode.task) for episode in episodes]
    metadata = {"episodes": json.dumps(names), **{name: str(getattr(row, name)) for name in FACTS}}
    keys = hashlib.sha256("".join(episode.key for episode in episodes).encode()).hexdigest()
    path = folder / f"{keys[:16]}{SUFFIX}"
    write_whole(path, save(tensors, metadata))
    return path


def kept_keys(folder: Path) -> dict[str, Path]:
    """The file of each episode whose logits lie in `folder`, by the key of its row; damaged files hold none."""
    found = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            found.update(dict.fromkeys((key for key, _, _ in _names(path)), path))
        except LogitsError:
            continue  # as good as missing: it is made again
    return found


def read_block(path: Path) -> list[EpisodeLogits]:
    """The episodes of one file. Raises LogitsError naming it."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
        ways, queries = tensors["ways"], tensors["queries"]
        logits = np.split(tensors["logits"], np.cumsum(ways * queries)[:-1])
        labels, position = (np.split(tensors[name], np.cumsum(queries)[:-1]) for name in ("labels", "position"))
        return [
            EpisodeLogits(key, episode_hash, task, values.reshape(m, way), truth, at)
            for (key, episode_hash, task), values, m, way, truth, at in zip(
                _names(path), logits, queries, ways, labels, position, strict=True
            )
        ]
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise _unreadable(path, error) from error


def find_logits(folder: Path, key: str) -> EpisodeLogits | None:
    """The episode of that row's key; None where its logits were not kept."""
    path = kept_keys(folder).get(key)
    return next((episode for episode in read_block(path) if episode.key == key), None) if path else None


def read_logits(out: Path) -> Iterator[tuple[Mapping[str, str], EpisodeLogits]]:
    """All logits under the `out` of a run, with what their rows say (FACTS); an episode that lies in two blocks, of
    a shorter and of a longer plan, comes once. Raises LogitsError naming the file that cannot be read."""
    seen: set[str] = set()
    for path in sorted((out / "logits").glob(f"*/*/*{SUFFIX}")):
        facts = {name: value for name, value in _metadata(path).items() if name in FACTS}
        for episode in read_block(path):
            if episode.key not in seen:
                seen.add(episode.key)
                yield facts, episode


def _names(path: Path) -> list[tuple[str, str, int]]:
    try:
        return [(key, episode_hash, task) for key, episode_hash, task in json.loads(_metadata(path)["episodes"])]
    except (KeyError, ValueError, TypeError) as error:
        raise LogitsError(f"{path}: no list of episodes; delete it and run with --save-logits") from error


def _metadata(path: Path) -> dict[str, str]:
    """Of a safetensors file: its length (8 bytes, little endian), then JSON. No tensor is read."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("its header is cut off")
            return dict(json.loads(file.read(length))["__metadata__"])
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> LogitsError:
    return LogitsError(f"{path}: cannot be read as logits ({error}); delete it and run with --save-logits")


def _plain(name: str) -> str:
    """A name as part of a path."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "-"
