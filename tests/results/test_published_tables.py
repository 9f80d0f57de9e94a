import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from results import published_tables
from results.errors import PublishedError
from results.published_tables import (
    COLUMNS,
    disagreements,
    doubts,
    load_table,
    recomputed,
    sources,
    summarised_tables,
    table_names,
    table_of,
)
from results.ranks import PAPERS13

FILES = sorted((Path(published_tables.__file__).parent / "published").glob("*.csv"))
TABLES = {
    "copa": ["gap", "table-1", "table-1-summary", "table-2", "table-2-summary"],
    "dl2pa": [f"table-{n}" for n in range(1, 10)],
    "cmm": [f"table-{n}" for n in range(1, 7)],
    "pauc": ["imagenet-100", "imagenet-1k"],
    "scl": [*(f"table-{n}" for n in range(1, 11)), "table-a1", "table-b1", "table-b2", "table-b3"],
}


@pytest.mark.parametrize("paper", TABLES)
def test_every_table_of_a_paper_is_there_in_its_order(paper):
    assert [name for name in table_names() if name.startswith(paper)] == [f"{paper}-{name}" for name in TABLES[paper]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_number_has_a_source_a_unit_and_a_place_of_its_own(path):
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert lines
    assert tuple(lines[0]) == COLUMNS
    for line in lines:
        assert line["table"] == path.stem
        assert line["source"]
        assert line["setting"]
        assert line["metric"]
        assert line["unit"] in {"%", "1", "s", "points"}
        assert np.isfinite(float(line["value"]))
        assert not (line["ci95"] and line["std"])
    places = [
        tuple(line[c] for c in ("method", "backbone", "condition", "dataset", "way", "shot", "metric"))
        for line in lines
    ]
    assert len(set(places)) == len(places)


def test_accuracies_are_percentages():
    tables = pd.concat([load_table(name) for name in table_names()])
    accuracies = tables.loc[tables["metric"].str.contains("accuracy"), "value"]
    assert len(accuracies) > 900
    assert accuracies.between(5, 100).all()


def test_printed_decimals_are_kept():
    copa = load_table("copa-table-1").set_index(["dataset", "method"])
    assert copa.loc[("aircraft", "S-CNAPS"), "as_printed"] == "82.0 ±0.7"
    assert copa.loc[("aircraft", "S-CNAPS"), "value"] == 82
    ablation = load_table("dl2pa-table-9")
    assert ablation["as_printed"].iloc[0] == "55.30 ±0.76"
    assert ablation["ci95"].isna().all()


def test_a_table_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(PublishedError, match="no published table 'copa-tabel-1'. Did you mean 'copa-table-1'?"):
        load_table("copa-tabel-1")


def test_what_is_done_to_a_loaded_table_does_not_change_the_next():
    table = load_table("copa-table-1")
    table["value"] = 0.0
    assert load_table("copa-table-1")["value"].min() > 30


def test_two_benchmarks_have_a_table_printed_for_them():
    assert table_of("meta-dataset-mdl") == "copa-table-1"
    assert table_of("meta-dataset-sdl") == "copa-table-2"
    assert table_of("meta-dataset-mdl-5shot") is None


def test_the_tables_of_copa_are_over_the_thirteen_domains_of_ours():
    for name in summarised_tables():
        table = load_table(name)
        assert table["dataset"].drop_duplicates().tolist() == list(PAPERS13)
        assert table["method"].nunique() == 11


def ranks(name):
    found = recomputed(name)
    return found[found["summary"] == "average rank"].set_index("method")


def test_average_ranks_of_table_1_are_recomputed_by_the_official_rule():
    assert ranks("copa-table-1")["recomputed"].to_dict() == pytest.approx(
        {
            "CNAPS": 9.95,
            "S-CNAPS": 8.85,
            "SUR": 8.15,
            "URT": 7.10,
            "Tri-M": 7.50,
            "FLUTE": 7.80,
            "URL": 4.50,
            "CoPA": 3.00,
            "TSA": 3.15,
            "TA2-Net": 3.40,
            "CoPA+TSA": 2.60,
        }
    )


def test_average_ranks_of_table_2_are_recomputed_by_the_official_rule():
    assert ranks("copa-table-2")["recomputed"].to_dict() == pytest.approx(
        {
            "Finetune": 8.60,
            "ProtoNets(large)": 7.10,
            "BOHB": 7.90,
            "FP-MAML": 8.75,
            "AFP-MAML": 6.90,
            "FLUTE": 10.20,
            "URL": 5.35,
            "CoPA": 3.50,
            "TSA": 2.45,
            "TA2-Net": 3.10,
            "CoPA+TSA": 2.15,
        }
    )


def test_the_printed_ranks_stay_beside_the_recomputed_ones():
    assert ranks("copa-table-1").loc["SUR", ["as_printed", "recomputed", "disagrees"]].tolist() == [8.7, 8.15, True]
    assert ranks("copa-table-2").loc["TSA", ["as_printed", "recomputed", "disagrees"]].tolist() == [2.5, 2.45, False]


def test_the_averages_that_do_not_follow_from_their_cells_are_these():
    found = disagreements()
    means = found[found["summary"].str.startswith("mean")]
    lines = means[["table", "method", "summary", "as_printed", "recomputed"]].itertuples(index=False)
    assert [tuple(line) for line in lines] == [
        ("copa-table-1", "Tri-M", "mean seen", 76.2, pytest.approx(74.525, abs=1e-3)),
        ("copa-table-1", "Tri-M", "mean all", 73.8, pytest.approx(72.738, abs=1e-3)),
        ("copa-table-1", "TSA", "mean all", 79.2, pytest.approx(79.031, abs=1e-3)),
        ("copa-table-2", "TA2-Net", "mean seen", 57.5, pytest.approx(57.4, abs=1e-3)),
        ("copa-table-2", "URL", "mean unseen", 66.6, pytest.approx(66.5, abs=1e-3)),
        ("copa-table-2", "URL", "mean all", 65.9, pytest.approx(65.792, abs=1e-3)),
        ("copa-table-2", "CoPA", "mean all", 67.7, pytest.approx(67.838, abs=1e-3)),
    ]


def test_the_ranks_that_do_not_follow_from_their_cells_are_these():
    found = disagreements()
    found = found[found["summary"] == "average rank"]
    assert found.groupby("table")["method"].agg(list).to_dict() == {
        "copa-table-1": ["CNAPS", "S-CNAPS", "SUR", "Tri-M", "TA2-Net"],
        "copa-table-2": ["Finetune", "ProtoNets(large)", "BOHB", "FP-MAML", "AFP-MAML", "FLUTE", "CoPA", "TA2-Net"],
    }


def test_the_printed_ranks_do_not_even_sum_to_those_of_eleven_methods():
    found = disagreements()
    sums = found[found["summary"] == "sum of ranks"].set_index("table")
    assert sums["as_printed"].to_dict() == pytest.approx({"copa-table-1": 67.0, "copa-table-2": 68.0})
    assert (sums["recomputed"] == 66).all()


def test_rounding_alone_is_no_disagreement():
    found = recomputed("copa-table-1").set_index(["method", "summary"])
    close = found.loc[("TA2-Net", "mean unseen")]
    assert close["difference"] == pytest.approx(-0.06)
    assert not close["disagrees"]


@pytest.mark.parametrize(
    ("table", "method", "value"),
    [
        ("dl2pa-table-2", "Ours", 46.85),
        ("dl2pa-table-7", "HPN", -0.05),
        ("dl2pa-table-7", "Ours", 0.0),
        ("cmm-table-3", "Cross-Modal WiSE-FT(a=0.5)", 56.6),
        ("cmm-table-3", "Cross-Modal Linear Probing", 55.3),
        ("cmm-table-4", "Tip-Adapter", 5.18),
        ("cmm-table-4", "Cross-Modal Linear", 4.14),
        ("cmm-table-4", "Cross-Modal Partial", 5.57),
        ("scl-table-b1", "Ours-Distill-Trainval", 87.61),
        ("scl-table-b3", "Spatial (alpha = 0)", 80.0),
    ],
)
def test_a_number_that_cannot_be_right_stays_as_printed_with_its_doubt(table, method, value):
    found = doubts()
    assert ((found["table"] == table) & (found["method"] == method) & (found["value"] == value)).any()


def test_gains_that_are_not_doubted_follow_from_the_accuracies():
    table = load_table("cmm-table-4").pivot(index="method", columns="metric", values="value")
    gains = table["accuracy"] - table.loc["Zero-shot CLIP", "accuracy"]
    wrong = set(gains.index[(gains - table["gain"]).abs() > 0.005])
    doubted = doubts()
    assert wrong == set(doubted.loc[(doubted["table"] == "cmm-table-4") & (doubted["metric"] == "gain"), "method"])


def test_tables_that_print_the_same_result_twice_agree():
    """CMM and Tip-Adapter-F on ImageNet stand in several tables, as do SCL's teacher and DL2PA's d=50."""
    cmm = pd.concat([load_table(f"cmm-table-{n}") for n in (2, 3, 4, 5)])
    fits = cmm["backbone"].eq("CLIP RN50") & cmm["dataset"].eq("imagenet-1k") & cmm["metric"].eq("accuracy")
    assert set(cmm.loc[fits & cmm["method"].isin(["CMM"]), "value"]) == {66.17}
    assert 66.17 in set(load_table("cmm-table-5")["value"])
    dl2pa = load_table("dl2pa-table-1").set_index(["method", "dataset", "condition"])["value"]
    for line in load_table("dl2pa-table-2").itertuples():
        if line.method == "Ours":
            assert line.value == dl2pa["Ours", line.dataset, line.condition]
    ablation, main = load_table("dl2pa-table-9"), load_table("dl2pa-table-8")
    ours = main[main["method"] == "Ours"]["value"].tolist()
    assert ablation[ablation["method"] == "Ours"]["value"].tolist() == ours
    teacher = [load_table(f"scl-table-{n}").query("method == 'Teacher'")["value"].tolist()[:4] for n in ("5", "b3")]
    assert teacher[0] == teacher[1] == [65.7, 82.5, 75.0, 87.4]


def test_claimed_improvements_of_pauc_follow_from_its_tables():
    hundred = load_table("pauc-imagenet-100").query("metric == 'top-1 accuracy'").set_index("method")["value"]
    thousand = load_table("pauc-imagenet-1k").set_index("method")["value"]
    assert hundred["PAUC (ours)"] - hundred["CLD"] == pytest.approx(2.96)
    assert thousand["PAUC (ours)"] - thousand["SwAV"] == pytest.approx(2.46)


def test_the_gap_shrinks_with_url_and_grows_with_copa_on_all_four_data_sets():
    gap = load_table("copa-gap").query("dataset != ''").pivot(index="dataset", columns="method", values="value")
    assert len(gap) == 4
    assert (gap["URL"] < gap["Emb"]).all()
    assert (gap["Emb"] < gap["CoPA"]).all()


def test_the_list_of_sources_counts_numbers_and_doubts():
    found = sources().set_index("table")
    assert found["numbers"].sum() == sum(len(load_table(name)) for name in table_names())
    assert found["doubts"].sum() == len(doubts()) > 0
    assert found.loc["copa-table-1", "source"].endswith("Table 1")
