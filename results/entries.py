"""What was asked for under which name: the lines of a plan's leaderboard, and the rows that belong to each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

AT = " @ "
CONFIGURATION = ["domain", "adapter_hash", "backbone_hash", "flags"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One method on one domain of a plan, as asked for.

    An adapter whose published rates depend on the domain has another configuration on each, and is still one method:
    the name that was asked for, as in "url" or "url(lr=0.5)", keeps it together.
    """

    method: str
    backbone: str
    domain: str
    adapter_hash: str
    backbone_hash: str
    flags: str  # JSON object
    seen: str  # seen | unseen | unknown: what the backbone's card says of the domain now
    contaminated: bool = False  # it says that the backbone was trained on the very classes of the plan's split


def name_methods(rows: pd.DataFrame, entries: pd.DataFrame) -> pd.DataFrame:
    """The rows of a plan that belong to its entries, with `method` and the entry's `backbone`, `seen`, `contaminated`.

    A row stands once for every entry that it answers (`url` and `url(lr=1.0)` may share theirs). Where a plan was run
    with several backbones, methods are called `<method> @ <backbone>`.
    """
    several = entries["backbone"].nunique() > 1
    names = entries["method"] + (AT + entries["backbone"] if several else "")
    wanted = entries[[*CONFIGURATION, "backbone", "seen", "contaminated"]].assign(method=names)
    return rows.drop(columns=["backbone", "seen"]).merge(wanted, on=CONFIGURATION, how="inner")


def plain_name(name: str, backbone: str) -> str:
    """A method as it was asked for, out of what `name_methods` calls it."""
    return name.removesuffix(f"{AT}{backbone}")


def hyper_of(flags: pd.Series) -> pd.Series:
    """Where a row's hyper-parameters come from (official | fixed), "" where its flags do not say."""
    return flags.map({text: json.loads(text).get("hyper", "") for text in flags.unique()})
