import csv
import hashlib
import io
import json
import os
import stat
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from results.errors import ResultsError
from results.leaderboard import leaderboard
from results.outputs.episodes import TYPES, episode_table
from results.outputs.timings import timings_csv
from results.outputs.write import FORMATS, write_outputs

SEEN = {"icons": "seen", "mnist": "unseen"}
ACCURACIES = {
    "url": {"icons": [0.5, 0.7, 0.1], "mnist": [0.3]},
    "ncc": {"icons": [0.5, 0.5, 0.2], "mnist": [0.1, 0.3, 0.9]},
}
NAMES = ["leaderboard.csv", "timings.csv", "leaderboard.md", "leaderboard.tex", "episodes.csv", "episodes.parquet"]


@pytest.fixture
def rows(make_frame):
    frame = make_frame(ACCURACIES)
    return frame.assign(wall_s=[0.1 * (i + 1) / 3 for i in range(len(frame))], flags='{"hyper": "official"}')


@pytest.fixture
def plan(make_plan):
    return make_plan(mnist=3, icons=3)


@pytest.fixture
def write(plan, tmp_path):
    """write(rows): every output, as name -> bytes."""

    def files(frame):
        paths = write_outputs(leaderboard(frame, plan, SEEN), frame, tmp_path)
        return {path.name: path.read_bytes() for path in paths}

    return files


def test_every_format_is_written(rows, write, tmp_path):
    assert list(write(rows)) == [*NAMES, "leaderboard.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*NAMES, "leaderboard.json"])
    assert set(FORMATS.values()) < {*NAMES, "leaderboard.json"}


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_same_rows_in_any_order_give_the_same_bytes(rows, write, data):
    first = write(rows)
    order = data.draw(st.permutations(range(len(rows))))
    assert write(rows.iloc[order]) == first
    assert write(rows.iloc[order].reset_index(drop=True)[sorted(rows.columns)]) == first


def test_both_long_forms_hold_every_row_by_domain_method_and_task(rows, write):
    files = write(rows)
    columnar = parquet.read_table(io.BytesIO(files["episodes.parquet"])).to_pandas()
    text = pd.read_csv(io.BytesIO(files["episodes.csv"]), keep_default_na=False, dtype={"adapter_version": str})
    assert list(columnar.columns) == list(text.columns) == list(TYPES)
    pd.testing.assert_frame_equal(columnar, text, check_dtype=False, check_exact=True)
    keys = columnar[["domain", "method", "task"]].values.tolist()
    assert keys[:4] == [["mnist", "ncc", 0], ["mnist", "ncc", 1], ["mnist", "ncc", 2], ["mnist", "url", 0]]
    assert len(keys) == len(rows)
    accuracies = rows.set_index("key")["accuracy"]
    assert columnar["accuracy"].tolist() == accuracies[columnar["key"]].tolist()
    assert set(columnar["hyper"]) == {"official"}
    assert set(columnar["plan"]) == {"plan"}


def test_long_forms_do_not_tell_when_or_with_what_they_were_written(rows, write):
    file = parquet.ParquetFile(io.BytesIO(write(rows)["episodes.parquet"]))
    assert file.metadata.metadata is None
    assert file.schema_arrow.metadata is None


def test_names_survive_the_long_form_and_only_the_csv_defuses_them(rows, plan, write, awkward):
    named = rows.assign(method=rows["method"].map({"url": awkward[1], "ncc": awkward[3]}))
    files = write(named)
    assert set(parquet.read_table(io.BytesIO(files["episodes.parquet"]))["method"].to_pylist()) == {
        awkward[1],
        awkward[3],
    }
    found = csv.DictReader(io.StringIO(files["episodes.csv"].decode(), newline=""))
    assert {line["method"] for line in found} == {f"'{awkward[1]}", awkward[3]}


def test_methods_of_several_backbones_join_with_the_leaderboard_on_method_and_backbone(rows, plan):
    table = episode_table(rows.assign(method=rows["method"] + " @ net"), plan)
    assert set(table["method"].to_pylist()) == {"ncc", "url"}
    assert set(table["backbone"].to_pylist()) == {"net"}


def test_the_manifest_lists_every_file_with_its_digest_and_columns(rows, write):
    files = write(rows)
    manifest = json.loads(files["leaderboard.json"])
    assert [file["name"] for file in manifest["files"]] == NAMES
    for file in manifest["files"]:
        data = files[file["name"]]
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    columns = {file["name"]: file["columns"] for file in manifest["files"]}
    assert columns["episodes.csv"] == columns["episodes.parquet"] == list(TYPES)
    assert columns["leaderboard.csv"][:3] == ["plan", "benchmark", "setting"]
    assert columns["leaderboard.md"] == []


def test_the_manifest_has_the_numbers_of_the_csv(rows, write):
    files = write(rows)
    lines = {line["name"]: line for line in csv.DictReader(io.StringIO(files["leaderboard.csv"].decode()))}
    methods = json.loads(files["leaderboard.json"])["methods"]
    assert [method["name"] for method in methods] == list(lines) == ["ncc", "url"]
    for method in methods:
        line = lines[method["name"]]
        for key in ("avg_rank", "avg_rank_plain", "avg_rank_papers13", "seen_mean", "all_mean"):
            assert method[key] == (float(line[key]) if line[key] else None)
        for domain, cell in method["domains"].items():
            assert cell["mean"] == (float(line[domain]) if line[domain] else None)
            assert cell["n"] == int(line[f"{domain}_n"])


def test_timings_are_seconds_per_episode_of_each_method_and_domain(make_frame):
    rows = make_frame(ACCURACIES)
    icons = (rows["adapter"] == "url") & (rows["domain"] == "icons")
    text = timings_csv(rows.assign(wall_s=rows["wall_s"].mask(icons & (rows["task"] == 1), 0.05)))
    assert text.splitlines() == [
        "method,backbone,domain,episodes,mean_s,median_s",
        "ncc,net,icons,3,0.010000,0.010000",
        "ncc,net,mnist,3,0.010000,0.010000",
        "url,net,icons,3,0.023333,0.010000",
        "url,net,mnist,1,0.010000,0.010000",
    ]


def test_an_old_file_is_replaced_whole_and_nothing_else_is_left(rows, write, tmp_path):
    (tmp_path / "leaderboard.csv").write_text("old " * 10_000)
    (tmp_path / "leaderboard.csv.part").write_text("left by a killed process")
    assert write(rows)["leaderboard.csv"].startswith(b"plan,benchmark")
    assert len(list(tmp_path.iterdir())) == len(NAMES) + 2


@pytest.mark.parametrize("name", ["leaderboard.csv", "episodes.parquet"])
def test_a_file_that_cannot_be_written_is_named_and_the_old_one_kept(rows, write, tmp_path, monkeypatch, name):
    (tmp_path / name).write_text("old")
    sync = os.fsync

    def full(descriptor):
        if name in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match=rf"{name}: cannot be written \(No space left on device\)"):
        write(rows)
    assert (tmp_path / name).read_text() == "old"
    assert not any(path.name.endswith(".part") for path in tmp_path.iterdir())


def test_files_may_be_read_by_whom_the_umask_allows(rows, write, tmp_path):
    before = os.umask(0o022)
    try:
        write(rows)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o644}
