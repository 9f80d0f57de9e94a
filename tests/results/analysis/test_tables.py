"""From measured episodes to tables: means, changes from the frozen features, and what is said of the claim."""

import csv
import io
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from results.analysis.collect import Found, tables
from results.analysis.figures import Example, write_figures
from results.analysis.gap import gap_norm
from results.analysis.gap_and_loss import cross_entropy
from results.analysis.measures import GAPS, MEASURES, Representation, measure
from results.analysis.nemd import nemd
from results.analysis.output import best_shift_table, definitions_table, direction_table, summary_table, write_tables
from results.analysis.tables import best_shifts, direction, mean_sweep, summary
from results.analysis.vectors import class_means
from results.stats import mean_ci95, paired_difference

METHODS = ["frozen", "url", "copa (fixed)"]
DOMAINS = ["mnist", "=1+1"]


def episodes_of(gaps, domain="mnist"):
    """Rows of episodes with these gaps by method; all other measures are 0."""
    return pd.DataFrame(
        [
            {"domain": domain, "method": method, "task": task, **dict.fromkeys(MEASURES, 0.0), "gap": gap}
            for method, values in gaps.items()
            for task, gap in enumerate(values)
        ]
    )


@dataclass
class Made:
    """The tables of a few random episodes, and the representations behind them."""

    found: list
    representations: dict
    tables: dict


@pytest.fixture(scope="session")
def made(random_task):
    found, representations = [], {}
    for place, domain in enumerate(DOMAINS):
        for task in range(4):
            z, labels = random_task(10 * place + task)
            for method, push in zip(METHODS, (0.0, 0.2, 1.0), strict=True):
                c = class_means(z, labels) + push
                queries = z + 0.1
                own = Representation(z, labels, c, queries, labels, queries @ c.T)
                representations[domain, method, task] = own
                found.append(Found(domain, method, task, measure(own, seed=task)))
    return Made(found, representations, tables(found, DOMAINS, METHODS))


def test_a_row_has_every_measure_and_each_is_what_its_name_says(made):
    own = made.representations["mnist", "copa (fixed)", 2]
    numbers = measure(own, seed=2).numbers
    assert list(numbers) == list(MEASURES)
    assert set(GAPS) <= set(MEASURES)
    assert numbers["gap"] == gap_norm(own.support, own.prototypes)
    assert numbers["gap_raw"] == gap_norm(own.support, own.prototypes, normalize=False)
    assert numbers["gap_raw_by_sample"] == pytest.approx(np.sqrt(8))  # its prototypes were all moved by 1
    assert numbers["nemd"] == nemd(own.support, own.labels, seed=2).nemd
    assert numbers["loss"] == cross_entropy(own.logits, own.query_labels)
    assert numbers["accuracy"] == np.mean(own.logits.argmax(1) == own.query_labels)


def test_the_summary_has_means_and_paired_changes_from_the_frozen_features(made):
    episodes = made.tables["episodes"]
    of = {name: part["gap"].to_numpy() for name, part in episodes[episodes["domain"] == "mnist"].groupby("method")}
    line = made.tables["gap"].set_index(["domain", "method", "measure"]).loc[("mnist", "copa (fixed)", "gap")]
    assert (line["mean"], line["ci95"]) == mean_ci95(of["copa (fixed)"])
    assert (line["change"], line["change_ci95"]) == paired_difference(of["copa (fixed)"], of["frozen"])
    assert line["share_higher"] == np.mean(of["copa (fixed)"] > of["frozen"])
    assert line["n"] == 4
    frozen = made.tables["gap"].query("method == 'frozen'")
    assert frozen["change"].isna().all()


def test_a_measure_is_averaged_over_the_episodes_in_which_it_is_defined():
    rows = episodes_of({"frozen": [1.0, np.nan, 3.0], "url": [2.0, 5.0, np.nan]})
    lines = summary(rows).query("measure == 'gap'").set_index("method")
    assert lines.loc["frozen", ["mean", "n"]].tolist() == [2.0, 2]
    assert lines.loc["url", ["mean", "n", "change"]].tolist() == [3.5, 2, 1.0]


def test_without_the_frozen_features_there_is_no_change():
    assert summary(episodes_of({"url": [1.0, 2.0]}))["change"].isna().all()


@pytest.mark.parametrize(
    ("url", "copa", "verdicts"),
    [
        ([0.1, 0.2, 0.1, 0.2], [0.9, 0.8, 0.9, 0.7], ("holds", "holds", "holds")),
        ([0.5, 0.6, 0.6, 0.5], [0.9, 0.8, 0.9, 0.7], ("fails", "holds", "fails")),
        ([0.1, 0.2, 0.5, 0.5], [0.9, 0.8, 0.9, 0.7], ("unclear", "holds", "unclear")),
        ([0.1, 0.2, 0.5, 0.5], [0.1, 0.1, 0.2, 0.1], ("unclear", "fails", "fails")),
        ([0.3, 0.4, 0.3, 0.4], [0.3, 0.4, 0.3, 0.4], ("unclear", "unclear", "unclear")),
    ],
)
def test_the_verdict_follows_the_paired_interval(url, copa, verdicts):
    (line,) = direction(episodes_of({"frozen": [0.3, 0.4, 0.3, 0.4], "url": url, "copa": copa})).to_dict("records")
    assert (line["narrows"], line["widens"], line["verdict"]) == verdicts


def test_shares_are_of_the_same_episodes_and_both_parts_must_be_so_in_one():
    gaps = {"frozen": [0.3, 0.4, 0.3, 0.4], "url (fixed)": [0.1, 0.5, 0.1, 0.5], "copa(lr=1.0)": [0.2, 0.6, 0.6, 0.6]}
    (line,) = direction(episodes_of(gaps)).to_dict("records")
    assert (line["narrows_share"], line["widens_share"], line["both_share"]) == (0.5, 0.75, 0.25)
    assert line["frozen"] == pytest.approx(0.35)


def test_differences_of_rounding_prove_nothing():
    gaps = {"frozen": [1e-8] * 5, "url": [0.0] * 5, "copa": [2e-8] * 5}
    (line,) = direction(episodes_of(gaps)).to_dict("records")
    assert (line["narrows"], line["widens"], line["both_share"]) == ("unclear", "unclear", 0)


@pytest.mark.parametrize("missing", ["frozen", "url", "copa"])
def test_without_all_three_nothing_is_said_of_the_claim(missing):
    gaps = {name: [0.1, 0.2] for name in ("frozen", "url", "copa") if name != missing}
    assert direction(episodes_of(gaps)).empty


def sweeps_of(losses):
    """losses: task -> loss at the shifts -1, 0, 1 of one method."""
    return pd.DataFrame(
        [
            {"domain": "d", "method": "m", "task": task, "shift": shift, "gap": 1.0, "along": shift, "loss": loss}
            for task, values in losses.items()
            for shift, loss in zip((-1.0, 0.0, 1.0), values, strict=True)
        ]
    )


def test_the_best_shift_is_that_of_the_least_mean_loss_and_shares_are_of_episodes():
    found = best_shifts(sweeps_of({0: (3, 2, 1), 1: (3, 2, 1), 2: (1, 2, 4), 3: (3, 2, 0), 4: (np.nan, 9, np.nan)}))
    (line,) = found.to_dict("records")
    assert (line["n"], line["best_shift"], line["share_wider"]) == (4, 1.0, 0.75)
    assert line["loss_change"] == pytest.approx(np.mean([-1, -1, 2, -2]))


def test_episodes_without_a_gap_are_left_out_of_the_mean_sweep_at_all_shifts():
    found = mean_sweep(sweeps_of({0: (3, 2, 1), 1: (np.nan, 9, np.nan)}))
    assert found["loss"].tolist() == [3, 2, 1]
    assert found["n"].tolist() == [1, 1, 1]
    (line,) = best_shifts(sweeps_of({1: (np.nan, 9, np.nan)})).to_dict("records")
    assert line["n"] == 0


def test_the_order_in_which_episodes_come_in_changes_nothing(made):
    again = tables(made.found[::-1], DOMAINS, METHODS)
    for name, table in made.tables.items():
        pd.testing.assert_frame_equal(table, again[name])
    assert again["gap"]["domain"].unique().tolist() == DOMAINS
    assert again["gap"]["method"].unique().tolist() == METHODS


def test_the_direction_is_judged_by_every_definition_of_the_gap(made):
    assert made.tables["direction"]["measure"].unique().tolist() == list(GAPS)
    assert len(made.tables["direction"]) == len(GAPS) * len(DOMAINS)


def test_spectra_are_the_mean_over_episodes(made):
    spectra = made.tables["spectra"].query("domain == 'mnist' and method == 'url' and kind == 'explained variance'")
    own = [each.measured.explained for each in made.found if each[:2] == ("mnist", "url")]
    assert spectra["value"].to_numpy() == pytest.approx(np.mean(own, axis=0))
    assert spectra["component"].tolist() == list(range(1, 9))


def test_tables_are_written_as_csv_and_json_that_say_the_same(made, tmp_path):
    names = write_tables(tmp_path, {"plan": "abc"}, made.tables)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    document = json.loads((tmp_path / "gap.json").read_text())
    assert document["plan"] == "abc"
    assert document["measures"] == MEASURES
    lines = list(csv.DictReader(io.StringIO((tmp_path / "gap.csv").read_text())))
    assert len(lines) == len(document["gap"]) == len(DOMAINS) * len(METHODS) * len(MEASURES)
    for line, record in zip(lines, document["gap"], strict=True):
        assert (line["method"], line["measure"]) == (record["method"], record["measure"])
        assert float(line["mean"]) == pytest.approx(record["mean"], rel=1e-5)
    assert document["gap"][0]["change"] is None
    assert lines[0]["change"] == ""


def test_text_that_a_spreadsheet_would_compute_is_quoted(made, tmp_path):
    write_tables(tmp_path, {}, made.tables)
    lines = list(csv.DictReader(io.StringIO((tmp_path / "episodes.csv").read_text())))
    assert {line["domain"] for line in lines} == {"mnist", "'=1+1"}


def test_what_is_printed_names_domains_methods_and_verdicts(made):
    screen = Console(width=120, file=io.StringIO(), force_terminal=False)
    for table in (
        summary_table(made.tables["gap"]),
        direction_table(made.tables["direction"].query("measure == 'gap'")),
        definitions_table(made.tables["direction"]),
        best_shift_table(made.tables["best_shift"]),
    ):
        screen.print(table)
    text = screen.file.getvalue()
    for word in (*DOMAINS, *METHODS, *GAPS, "D-B", "url < frozen", "verdict", "best shift"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_definitions_are_counted_each_for_itself():
    rows = [
        {"measure": measure, "domain": domain, "narrows": narrows, "widens": "holds", "verdict": verdict}
        for measure, domain, narrows, verdict in (
            ("gap", "a", "holds", "holds"),
            ("gap", "b", "fails", "fails"),
            ("gap_raw", "a", "unclear", "unclear"),
            ("gap_raw", "b", "fails", "fails"),
        )
    ]
    screen = Console(width=120, file=io.StringIO(), force_terminal=False)
    screen.print(definitions_table(pd.DataFrame(rows)))
    lines = [line.split() for line in screen.file.getvalue().splitlines() if line.strip().startswith("gap")]
    assert lines[0][:10] == ["gap", "1", "of", "2", "2", "of", "2", "1", "of", "2"]
    assert lines[1][:10] == ["gap_raw", "0", "of", "2", "2", "of", "2", "0", "of", "2"]


def test_every_figure_is_a_png_and_an_svg_that_names_its_methods_and_comes_out_the_same(made, tmp_path):
    examples = [
        Example(domain, method, task, own.support, own.labels, own.prototypes, 0.5)
        for (domain, method, task), own in made.representations.items()
        if task == 1
    ]
    arguments = examples, made.tables["gap"], made.tables["gap_and_loss"], made.tables["spectra"]
    names = write_figures(tmp_path / "once", *arguments)
    write_figures(tmp_path / "again", *arguments)
    assert names == ["embedding", "gap", "gap-and-loss", "singular-values", "explained-variance"]
    for name in names:
        assert (tmp_path / f"once/{name}.png").read_bytes().startswith(b"\x89PNG")
        svg = (tmp_path / f"once/{name}.svg").read_bytes()
        assert svg == (tmp_path / f"again/{name}.svg").read_bytes()
        for method in METHODS:
            assert method.encode() in svg


def test_a_figure_without_a_single_gap_to_widen_can_still_be_drawn(made, tmp_path):
    nothing = mean_sweep(sweeps_of({1: (np.nan, 9, np.nan)}))
    assert nothing.empty
    own = made.representations["mnist", "url", 0]
    example = Example("mnist", "url", 0, own.support[:, :1], own.labels, own.prototypes[:, :1], 0.5)
    write_figures(tmp_path, [example], made.tables["gap"], nothing, made.tables["spectra"])
    assert (tmp_path / "gap-and-loss.png").is_file()
