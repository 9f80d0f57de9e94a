"""Evaluate a network from the script that trains it: `from harness import evaluate`."""

from __future__ import annotations

import copy
import hashlib
import random
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from rich.console import Console
from torch import nn

from backbones.contract import Backbone, BackboneCard
from backbones.foreign import digest_of, features_of_noise, set_feature_dim
from backbones.frozen import HALF, FrozenBackbone
from harness.blocks import GivenBackbone
from harness.build_request import checked_pixels, checked_split
from harness.cells import Run, prepare
from harness.config import load_benchmark
from harness.console import names
from harness.devices import checked_device, random_devices
from harness.domains import cache_folder, check_records, resolve
from harness.errors import HarnessError
from harness.methods import checked_hyper, parse_methods
from harness.request import Request, usual_store_dtype
from harness.run import compute
from harness.sources import FromRecords
from harness.trained_on import TrainedOn, doubtful_names, parse_trained_on
from harness.vectors import cache_in_use
from results.run_lock import sole_runner
from results.store import ResultStore

if TYPE_CHECKING:
    import pandas as pd

WRAPPERS = (nn.parallel.DistributedDataParallel, nn.DataParallel)
ROW_COLUMNS = ["key", "accuracy", "way", "n_support", "n_query", "wall_s"]


def evaluate(
    module: nn.Module | Backbone,
    adapters: str | Sequence[str] = "ncc",
    benchmark: str | Path = "pocket",
    tasks: int | None = None,
    *,
    datasets: str | Sequence[str] | None = None,
    split: str | None = None,
    seed: int = 0,
    records: str | Path | None = None,
    image_size: int = 84,
    trained_on: str | TrainedOn | None = None,
    hyper: str = "official",
    pixels: str = "keep",
    device: str | None = None,
    name: str | None = None,
    out: str | Path | None = None,
) -> pd.DataFrame:
    """The episodes of a benchmark under each adapter on a network as it is now, as `metabench run` computes them.

    `module` maps images (n, 3, s, s) in [-1, 1] to features (n, d). It is copied, and the copy frozen, so it may be in
    training, on any device, and stays as it was, as do all random states. A Backbone is used as it is.

    `adapters`, `datasets`, `split`, `seed`, `records`, `hyper`, `pixels`: as for `metabench run`; `tasks`: episodes of
    each domain. `trained_on`: decides which domains are seen, as in "icons,emoji=all" or {"emoji": "all"}. `device`:
    where to compute (default: the module's). `name`: what the network is called, and `out`: a folder where rows are
    stored, as by `metabench run`; without it nothing is kept but, by `pixels`, decoded images.

    Returns a row for each episode: domain, adapter, task, accuracy (0 to 1), way, n_support, n_query, seen, wall_s.
    Warns of names in `trained_on` that look misspelt.
    Raises what `metabench run` shows as one line: HarnessError and the errors of the other rooms.
    """
    if tasks is not None and tasks < 1:
        raise HarnessError(f"tasks={tasks}: give 1 or more, or leave it out for the benchmark's number")
    if image_size < 1:
        raise HarnessError(f"image_size={image_size}: give the side of the network's images in pixels, 1 or more")
    device = checked_device(device or _device_of(module))
    chosen = load_benchmark(str(benchmark))
    folder = Path(records) if records is not None else None
    chosen = resolve(chosen, folder)
    wanted = names(datasets) if isinstance(datasets, str) else tuple(datasets) if datasets is not None else None
    domains = chosen.select(wanted)
    check_records(chosen, domains, folder)
    with tempfile.TemporaryDirectory(prefix="metabench-") as scratch, _undisturbed(device):
        backbone = _given(module, image_size, trained_on, name, device)
        request = Request(
            benchmark=chosen,
            domains=domains,
            named=wanted is not None,
            methods=tuple(parse_methods([adapters] if isinstance(adapters, str) else adapters)),
            hyper=checked_hyper(hyper),
            backbone=backbone,
            split=checked_split(chosen, split),
            tasks=tasks,
            seed=seed,
            out=Path(out or scratch),
            source=FromRecords(folder and folder.absolute()),
            cache=cache_folder(),
            vectors=Path(scratch),
            device=device,
            workers=1,
            pixels=checked_pixels(pixels),
            store_dtype=usual_store_dtype(backbone.dtype),
        )
        current = prepare(request)
        _check_maps(current)
        for line in doubtful_names(current.backbone.card.trained_on, [domain.name for domain in domains]):
            warnings.warn(line, stacklevel=2)
        with (
            sole_runner(request.out, lambda runner: warnings.warn(f"waiting: {runner} runs into {out}", stacklevel=4)),
            ResultStore(request.out / "results.sqlite") as store,
            cache_in_use(current),
        ):
            compute(current, store, Console(quiet=True, force_terminal=False))
            return _frame(current, store)


def _check_maps(current: Run) -> None:
    for cell in current.cells:
        adapter = cell.configured.adapter
        if "maps" in {*adapter.needs, adapter.takes} and not hasattr(current.backbone.module, "maps"):
            raise HarnessError(
                f"adapter {cell.configured.name!r} works on maps; give {current.backbone.name} a method maps: images "
                f"(n, 3, s, s) -> (n, d, h, w)"
            )


def _frame(current: Run, store: ResultStore) -> pd.DataFrame:
    """The rows of this run alone, domain by domain, whatever else the store holds of its plan."""
    import pandas as pd

    rows = store.rows(current.plan.hash, ROW_COLUMNS).drop_duplicates("key").set_index("key")
    parts = []
    for cell in current.cells:
        found = rows.loc[cell.keys].reset_index(drop=True)
        found.insert(0, "domain", cell.domain.name)
        found.insert(1, "adapter", cell.configured.label)
        found.insert(2, "task", range(len(found)))
        found.insert(len(found.columns) - 1, "seen", cell.domain.seen)
        parts.append(found)
    return pd.concat(parts, ignore_index=True)


@contextmanager
def _undisturbed(device: str) -> Iterator[None]:
    """Whatever the caller is in the middle of (no_grad, autocast): gradients as adapters need them, full precision;
    and random states that come back as they were."""
    where = torch.device(device)
    states = random.getstate(), np.random.get_state()
    try:
        with (
            torch.random.fork_rng(devices=random_devices(device)),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(where.type, enabled=False),
        ):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _device_of(module: nn.Module | Backbone) -> str:
    if not isinstance(module, nn.Module) and not isinstance(getattr(module, "module", None), nn.Module):
        raise HarnessError(f"evaluate wants a torch module or a Backbone, not {type(module).__name__}")
    network = module if isinstance(module, nn.Module) else module.module
    tensor = next((tensor for tensor in (*network.parameters(), *network.buffers())), None)
    return "cpu" if tensor is None else str(tensor.device)


def _given(
    module: nn.Module | Backbone, image_size: int, trained_on: str | TrainedOn | None, name: str | None, device: str
) -> GivenBackbone:
    if not isinstance(module, nn.Module):
        if trained_on is not None or name is not None:
            raise HarnessError(f"backbone {module.name!r} has a name and a card; leave out name and trained_on")
        return GivenBackbone(module, _word(module.dtype))
    network = _copy_of(module).to(device)
    dtype = _dtype_of(network)
    known = None if trained_on is None else _as_on_a_card(trained_on)
    kind = type(module)
    card = BackboneCard(
        name=name or kind.__name__,
        arch=f"{kind.__module__}.{kind.__qualname__}",
        image_size=image_size,
        training_data_known=known is not None,
        trained_on=known or {},
    )
    features = _features_of_noise(network, card, dtype)
    card = msgspec.structs.replace(
        card, arch=f"{card.arch} giving {_fingerprint(features)}", weights_sha256=digest_of(network)
    )
    set_feature_dim(network, features.shape[1], card)
    return GivenBackbone(FrozenBackbone(card, network, device=torch.device(device), dtype=dtype), _word(dtype))


def _dtype_of(network: nn.Module) -> torch.dtype:
    dtypes = {tensor.dtype for tensor in network.parameters() if tensor.is_floating_point()} or {torch.float32}
    if len(dtypes) > 1:
        which = " and ".join(sorted(map(_word, dtypes)))
        raise HarnessError(f"{type(network).__name__} has weights in {which}; one is wanted, as of module.float()")
    return dtypes.pop()


def _as_on_a_card(trained_on: str | TrainedOn) -> dict[str, tuple[str, ...]]:
    if isinstance(trained_on, str):
        return parse_trained_on(names(trained_on) or ())
    return {domain: (parts,) if isinstance(parts, str) else tuple(parts) for domain, parts in trained_on.items()}


def _copy_of(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode of what a wrapper (DistributedDataParallel, torch.compile) holds, or of the module."""
    while isinstance(module, WRAPPERS) or hasattr(module, "_orig_mod"):
        module = module.module if isinstance(module, WRAPPERS) else module.get_submodule("_orig_mod")
    try:
        return copy.deepcopy(module).eval().requires_grad_(False)
    except (RuntimeError, TypeError) as error:
        raise HarnessError(f"{type(module).__name__} cannot be copied ({error}); give a network that can") from error


def _features_of_noise(network: nn.Module, card: BackboneCard, dtype: torch.dtype) -> torch.Tensor:
    """What a copy of it, as the trial run may move what it is given, makes of two images of noise, (2, d); float32
    tells a dependence on the batch from the rounding of half precision. Raises BackboneError as for `metabench run`."""
    trial = copy.deepcopy(network)
    return features_of_noise(trial.float() if dtype in HALF else trial, card)


def _fingerprint(features: torch.Tensor) -> str:
    """Tells networks of equal weights but other code apart."""
    return hashlib.sha256(features.cpu().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
