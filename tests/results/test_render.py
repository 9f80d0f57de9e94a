import io
import itertools
import re

import pytest
from rich.console import Console

from results.leaderboard import leaderboard, paired
from results.render import render

DOMAINS = ("ilsvrc_2012", "omniglot", "aircraft", "cu_birds", "dtd", "quickdraw", "traffic_sign", "mscoco")
SEEN = {domain: "seen" if i < 4 else "unseen" for i, domain in enumerate(DOMAINS)}


def printed(parts, *, width=120, colour=False):
    file = io.StringIO()
    console = Console(file=file, width=width, color_system="standard" if colour else None, legacy_windows=False)
    for part in parts:
        console.print(part)
    return file.getvalue()


@pytest.fixture
def table(make_frame, make_plan):
    """table({method: {domain: accuracies}}, seen, baseline, renames): the printed board."""

    def show(accuracies, planned, *, seen=SEEN, baseline=None, width=120, colour=False, names=None, contaminated=()):
        rows = make_frame(accuracies)
        rows["contaminated"] = [cell in contaminated for cell in zip(rows["adapter"], rows["domain"], strict=True)]
        rows = rows.assign(method=rows["adapter"].map(names or {name: name for name in accuracies}))
        plan = make_plan(**planned)
        differences = paired(rows, plan, seen, baseline) if baseline else None
        return printed(render(leaderboard(rows, plan, seen), differences, width=width), width=width, colour=colour)

    return show


def lines_with(text, start):
    return [" ".join(line.split()) for line in text.splitlines() if line.split()[:1] == [start]]


def test_each_domain_shows_its_state_and_a_cell_per_method(table):
    text = table(
        {"ncc": {"dtd": [0.5, 0.7], "omniglot": [0.9, 0.9]}, "url": {"dtd": [1, 1], "omniglot": [0.1, 0.1]}},
        {"dtd": 2, "omniglot": 2},
    )
    assert lines_with(text, "domain") == ["domain ncc url"]
    assert lines_with(text, "dtd") == ["dtd unseen 60.0 ±13.9 100.0 ±0.0"]
    assert lines_with(text, "omniglot") == ["omniglot seen 90.0 ±0.0 10.0 ±0.0"]
    assert lines_with(text, "mean") == ["mean seen 90.0 10.0", "mean unseen 60.0 100.0", "mean all 75.0 55.0"]
    assert lines_with(text, "average") == ["average rank 1.50 1.50"]
    assert text.startswith("pocket · test · 2 episodes per domain · seed 0 · plan plan\n")


def test_ten_methods_with_long_names_on_eight_domains_fit_120_columns(table):
    names = {f"m{i}": f"copa-tsa(lr=0.00{i}, weight_decay=0.1) @ efficientnet-lite0" for i in range(10)}
    accuracies = {name: {domain: [1.0, 0.0, 1.0] for domain in DOMAINS} for name in names}
    text = table(accuracies, dict.fromkeys(DOMAINS, 3), baseline=names["m0"], names=names)
    assert max(len(line) for line in text.splitlines()) <= 120
    for domain in DOMAINS:
        cells = [line.split()[2:] for line in lines_with(text, domain)]
        assert [len(line) for line in cells] == [8, 8, 4, 6, 6, 6]
        assert cells[0] == ["66.7", "±53.3"] * 4


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_every_domain_and_every_word_of_a_label_is_printed_whole_at_any_width(table, width):
    kinds = ("resnet18-pocket", "resnet18-pocket float16 features", "resnet18-pocket-random")
    names = {f"m{i}": f"{method} @ {kind}" for i, (method, kind) in enumerate(itertools.product(("ncc", "url"), kinds))}
    domains = (*DOMAINS, "a_domain_of_my_own")
    accuracies = {name: {domain: [1.0, 0.0, 1.0] for domain in domains} for name in names}
    planned = dict.fromkeys(domains, 3)
    seen = dict.fromkeys(domains, "seen")
    text = table(accuracies, planned, width=width, seen=seen, baseline="ncc @ resnet18-pocket", names=names)
    assert max(len(line) for line in text.splitlines()) <= width
    for domain in domains:
        assert sum(len(line.split()) - 2 for line in lines_with(text, domain)) == 2 * (6 + 5)
    headings = [word for line in text.splitlines() if "±" not in line for word in line.split()]
    assert headings.count("resnet18-pocket-random") == 2 + 2
    assert headings.count("features") == 2 + 2


def test_the_best_and_its_ties_are_bold_and_no_other(table):
    text = table(
        {"a": {"dtd": [0.5, 0.7]}, "b": {"dtd": [0.6, 0.6]}, "c": {"dtd": [0.1, 0.1]}}, {"dtd": 2}, colour=True
    )
    line = next(line for line in text.splitlines() if "±" in line and "dtd" in line)
    bold = [" ".join(found.split()) for found in re.findall("\x1b\\[1;32m(.*?)\x1b", line)]
    assert bold == ["60.0 ±13.9", "60.0 ±0.0"]


def test_an_incomplete_cell_shows_its_count_and_takes_the_averages_away(table):
    text = table({"ncc": {"dtd": [0.5, 0.7], "omniglot": [0.9]}}, {"dtd": 2, "omniglot": 2})
    assert lines_with(text, "omniglot") == ["omniglot seen 1/2"]
    assert lines_with(text, "dtd") == ["dtd unseen 60.0 ±13.9"]
    assert lines_with(text, "average") == ["average rank –"]
    assert "n/2: n episodes are done so far" in text


def test_an_unknown_domain_is_marked_and_explained(table):
    text = table({"ncc": {"dtd": [0.5, 0.7]}}, {"dtd": 2}, seen={"dtd": "unknown"})
    assert lines_with(text, "dtd") == ["dtd ? 60.0 ±13.9"]
    assert lines_with(text, "mean") == ["mean all 60.0"]
    assert "?: not known whether" in text


def test_a_contaminated_cell_is_marked_and_explained(table):
    accuracies = {name: {"dtd": [0.5, 0.7], "omniglot": [0.9, 0.9], "mscoco": [1, 1]} for name in ("ncc", "url")}
    planned = {"omniglot": 2, "dtd": 2, "mscoco": 2}
    marked = [("ncc", "dtd"), ("url", "dtd")]
    text = table(accuracies, planned, contaminated=marked, baseline="ncc")
    assert lines_with(text, "dtd") == ["dtd unseen †60.0 ±13.9 †60.0 ±13.9", "dtd † unseen +0.00 ±0.00"]
    assert lines_with(text, "omniglot")[0] == "omniglot seen 90.0 ±0.0 90.0 ±0.0"
    means = ["mean seen 90.0 90.0", "mean unseen 100.0 100.0", "mean all †83.3 †83.3"]
    assert lines_with(text, "mean")[:3] == means
    assert "†: the backbone was trained on these very test classes" in text
    assert "not ranked" not in text
    mixed = table(accuracies, planned, contaminated=marked[:1])
    assert "dtd: not ranked, since not all backbones have the †" in mixed


def test_a_finished_board_has_no_footnotes_it_does_not_need(table):
    text = table({"ncc": {"dtd": [0.5, 0.7]}}, {"dtd": 2})
    assert "so far" not in text
    assert "?" not in text
    assert "†" not in text


def test_differences_are_signed_and_coloured_only_beyond_their_interval(table):
    accuracies = {
        "ncc": {"dtd": [0.5, 0.5], "mscoco": [0.5, 0.5], "omniglot": [0.5, 0.5]},
        "url": {"dtd": [0.6, 0.6], "mscoco": [0.3, 0.3], "omniglot": [0.5, 0.6]},
    }
    planned = {"dtd": 2, "mscoco": 2, "omniglot": 2}
    plain = table(accuracies, planned, baseline="ncc").partition("Difference from ncc on the same episodes")[2]
    assert lines_with(plain, "omniglot") == ["omniglot seen +5.00 ±6.93"]
    assert lines_with(plain, "mean") == ["mean seen +5.00 ±6.93", "mean unseen -5.00 ±0.00", "mean all -1.67 ±2.31"]
    coloured = table(accuracies, planned, baseline="ncc", colour=True)
    coloured = coloured.partition("Difference from ncc on the same episodes")[2]
    assert [found.strip() for found in re.findall("\x1b\\[3[12]m(.*?)\x1b", coloured)] == [
        "+10.00 ±0.00",
        "-20.00 ±0.00",
        "-5.00 ±0.00",
    ]


def test_square_brackets_in_a_name_are_printed_as_they_are(table):
    text = table({"ncc": {"dtd": [0.5, 0.7]}}, {"dtd": 2}, names={"ncc": "sur[1]"})
    assert lines_with(text, "domain") == ["domain sur[1]"]
