"""Who can be compared on a plan: each method on each backbone, and how the user says which one is meant.

A contender is written ADAPTER[@BACKBONE[:CONFIG]]. CONFIG is one word or several, with commas, of those that tell
contenders of one name apart: where hyper-parameters come from (official, fixed), the precision (bfloat16), compiled,
rounded, store-dtype=float16, version=1 (the adapter's), or the beginning of the weights' sha256.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from results.entries import CONFIGURATION
from results.errors import ContenderError, did_you_mean

ROW_COLUMNS = (
    *(*CONFIGURATION, "backbone", "task", "accuracy", "seen"),
    *("adapter", "adapter_version", "hyperparameters", "weights_sha256", "dtype"),
)
"""Of `Row`: what telling contenders apart takes."""
FIXED = " (fixed)"
HASH_DIGITS = 8
_HASH = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contender:
    """One method on one backbone. `rows`: domain, task, accuracy, seen, contaminated, one for each of its episodes.

    `former`: the plan's leaderboard does not show it any more, as its weights or its adapter's version have changed;
    its rows are still there, and CONFIG must name those weights or that version.
    """

    method: str  # its name on the leaderboard, without " (fixed)"
    backbone: str
    label: str  # the backbone on the leaderboard, with its precision and such
    words: frozenset[str]  # the CONFIG that fits it, but for the weights
    aside: bool  # the published rates were left aside
    former: bool
    version: str
    weights_sha256: str
    rows: pd.DataFrame

    @property
    def name(self) -> str:
        """Unlike that of any other contender of the plan."""
        return f"{self.short} @ {self.label}" + self.past

    @property
    def short(self) -> str:
        """Its method alone, as on a leaderboard of one backbone."""
        return self.method + (FIXED if self.aside else "")

    @property
    def past(self) -> str:
        """What tells a former contender from the one that came after it."""
        return f" [weights {self.weights_sha256[:HASH_DIGITS]}, version {self.version}]" if self.former else ""

    @property
    def usual(self) -> bool:
        """What is meant where no CONFIG is given."""
        return not self.aside and not self.former and self.label == self.backbone

    def fits(self, word: str) -> bool:
        """Whether a word of CONFIG is true of it."""
        return word in self.words or bool(_HASH.fullmatch(word) and self.weights_sha256.startswith(word))


def contenders(rows: pd.DataFrame, entries: pd.DataFrame) -> list[Contender]:
    """All contenders of a plan, from `ResultStore.rows(plan_hash, ROW_COLUMNS)` and `ResultStore.entries(plan_hash)`.

    First those of its leaderboard, then the former ones: rows of the plan that no entry stands for any more.
    """
    wanted = entries.drop(columns="seen").assign(seen_now=entries["seen"]).rename(columns={"backbone": "label"})
    merged = rows.reset_index().merge(wanted, on=CONFIGURATION, how="left")
    current = merged[merged["method"].notna()].assign(seen=lambda frame: frame["seen_now"])
    found = [_contender(part, former=False) for _, part in current.groupby(["method", "label"], sort=True)]
    rest = merged[merged["method"].isna()].assign(contaminated=False)
    if len(rest):
        rest = rest.assign(label=rest["backbone"], method=_former_names(rest))
        kinds = ["method", "adapter_version", "backbone_hash", "flags"]
        found += [_contender(part, former=True) for _, part in rest.groupby(kinds, sort=True)]
    return found


def find(found: Sequence[Contender], text: str, adapter: str, rest: str) -> Contender:
    """The contender called `adapter`, on what `rest` (BACKBONE[:CONFIG], or "") says; `text`: as the user wrote it.

    What CONFIG leaves out is as usual where there is such a contender: published rates, float32, exact pixels. Raises
    ContenderError listing those that fit when they are several, and the nearest name when there is none.
    """
    if not found:
        raise ContenderError("no episode of this plan is done yet; run the benchmark first")
    named = [one for one in found if one.name == text.strip()]
    if len(named) == 1:
        return named[0]
    aside = adapter.endswith(FIXED.strip())
    adapter = adapter.removesuffix(FIXED.strip()).strip()
    same = [one for one in found if one.method == adapter and (one.aside or not aside)]
    if not same:
        raise ContenderError(_unknown("method", adapter + (FIXED if aside else ""), {one.short for one in found}))
    backbone, words = _split(rest, same)
    same = [one for one in same if backbone in ("", one.backbone)]
    fitting = [one for one in same if all(one.fits(word) for word in words)]
    if not any(_HASH.fullmatch(word) or word.startswith("version=") for word in words):
        fitting = [one for one in fitting if not one.former]
    usual = [one for one in fitting if one.usual]
    chosen = usual if len(fitting) > 1 and len(usual) == 1 else fitting
    if len(chosen) == 1:
        return chosen[0]
    candidates = ", ".join(sorted(one.name for one in chosen or same))
    if not chosen:
        if words:
            raise ContenderError(f"{text!r}: nothing here is {' and '.join(words)}. Known: {candidates}")
        raise ContenderError(
            f"{text!r} was not run on this plan; some of its episodes have rows of other plans: run it on this one, or "
            f"name these: {candidates}"
        )
    raise ContenderError(f"{text!r} may be any of {candidates}; write ADAPTER@BACKBONE:CONFIG, see docs/compare.md")


def _split(rest: str, same: Sequence[Contender]) -> tuple[str, list[str]]:
    """BACKBONE and the words of CONFIG. Names of backbones hold colons, dots and spaces, so known names decide."""
    known = sorted({one.backbone for one in same}, key=len, reverse=True)
    rest = rest.strip()
    for backbone in ("", *known) if rest[:1] in ("", ":") else known:
        after = rest[len(backbone) :]
        if rest.startswith(backbone) and after[:1] in ("", ":", " "):
            return backbone, re.findall(r"[^\s,:]+", after)
    raise ContenderError(_unknown("backbone", rest, known))


def _contender(rows: pd.DataFrame, *, former: bool) -> Contender:
    first, flags = rows.iloc[0], json.loads(rows["flags"].iloc[0])
    method = str(first["method"])
    return Contender(
        method=method.removesuffix(FIXED),
        backbone=str(first["backbone"]),
        label=_label(first, flags) if former else str(first["label"]),
        words=frozenset(_words(first, flags)),
        aside=method.endswith(FIXED),
        former=former,
        version=str(first["adapter_version"]),
        weights_sha256=str(first["weights_sha256"]),
        rows=rows[["domain", "task", "accuracy", "seen", "contaminated"]].reset_index(drop=True),
    )


def _words(row: pd.Series, flags: dict[str, Any]) -> Iterable[str]:
    hyper, dtype = str(flags.get("hyper", "")), str(row["dtype"])
    yield from (hyper, f"hyper={hyper}", dtype, f"dtype={dtype}", f"version={row['adapter_version']}")
    if flags.get("compiled"):
        yield "compiled"
    if "store_dtype" in flags:
        yield f"store-dtype={flags['store_dtype']}"
    yield "rounded" if str(flags.get("pixels", "")).startswith("rounded") else "exact"


def _label(row: pd.Series, flags: dict[str, Any]) -> str:
    """A former contender's backbone: the words that a leaderboard would add to it."""
    unusual = [row["dtype"]] if row["dtype"] != "float32" else []
    unusual += ["compiled"] if flags.get("compiled") else []
    unusual += [f"{flags['store_dtype']} features"] if "store_dtype" in flags else []
    unusual += ["rounded"] if str(flags.get("pixels", "")).startswith("rounded") else []
    return " ".join([row["backbone"], *unusual])


def _former_names(rows: pd.DataFrame) -> pd.Series:
    """A method for each row that no entry names: its adapter, with all hyper-parameters where a domain has several."""
    kinds = ["adapter", "adapter_version", "backbone_hash", "flags"]
    each = rows.groupby([*kinds, "domain"])["adapter_hash"].transform("nunique")
    several = each.groupby([rows[kind] for kind in kinds]).transform("max") > 1
    return rows["adapter"].where(~several, rows["adapter"] + rows["hyperparameters"].map(_settings))


def _settings(hyperparameters: str) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in sorted(json.loads(hyperparameters).items()))
    return f"({settings})" if settings else ""


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    return f"no {kind} {name!r} on this plan.{did_you_mean(name, names)} Known: {', '.join(names)}"
