"""episodes.csv and episodes.parquet: every row of a plan, a line for every method on every episode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from results.entries import hyper_of, plain_name
from results.files import open_whole
from results.outputs.delimited import defused_columns

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

    from results.store import StoredPlan

TYPES = {
    "plan": "string",
    "benchmark": "string",
    "setting": "string",
    "split": "string",
    "seed": "int64",
    "method": "string",
    "backbone": "string",
    "hyper": "string",
    "domain": "string",
    "seen": "string",
    "contaminated": "bool",
    "task": "int64",
    "way": "int64",
    "n_support": "int64",
    "n_query": "int64",
    "accuracy": "double",
    "wall_s": "double",
    "adapter": "string",
    "adapter_version": "string",
    "hyperparameters": "string",
    "dtype": "string",
    "flags": "string",
    "episode_hash": "string",
    "protocol_hash": "string",
    "records_hash": "string",
    "spec_hash": "string",
    "adapter_hash": "string",
    "backbone_hash": "string",
    "weights_sha256": "string",
    "key": "string",
    "created": "string",
}
"""The columns in their order, with their Arrow types; docs/outputs.md says what they hold."""
_ROWS_PER_GROUP = 65_536


def episode_table(rows: pd.DataFrame, plan: StoredPlan) -> pyarrow.Table:
    """Every row of the plan (all fields of `Row`, named by `name_methods`), by domain, method, backbone and task."""
    import pyarrow as pa

    position = {domain: place for place, domain in enumerate(plan.domains)}
    ordered = rows.assign(position=rows["domain"].map(position)).sort_values(["position", "method", "backbone", "task"])
    names = ordered[["method", "backbone"]].drop_duplicates().itertuples(index=False)
    plain = {name: plain_name(name, backbone) for name, backbone in names}
    ordered = ordered.assign(
        plan=plan.plan_hash,
        benchmark=plan.benchmark,
        setting=plan.setting,
        method=ordered["method"].map(plain),
        hyper=hyper_of(ordered["flags"]),
        contaminated=ordered["contaminated"].astype(bool),
    )
    schema = pa.schema([(column, pa.type_for_alias(kind)) for column, kind in TYPES.items()])
    return pa.Table.from_pandas(ordered, schema, preserve_index=False).replace_schema_metadata(None)


def write_episodes_csv(table: pyarrow.Table, path: Path) -> None:
    """Text is quoted and `defused`; accuracies are fractions with all their digits."""
    from pyarrow import csv

    with open_whole(path) as file:
        csv.write_csv(defused_columns(table), file)


def write_episodes_parquet(table: pyarrow.Table, path: Path) -> None:
    """Text as it is; equal tables give equal bytes with one version of pyarrow."""
    from pyarrow import parquet

    with open_whole(path) as file:
        parquet.write_table(
            table, file, version="2.6", compression="zstd", row_group_size=_ROWS_PER_GROUP, store_schema=False
        )
