import re
import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from results.outputs.markdown import leaderboard_markdown
from results.outputs.table import shown

THREE = {"a": {"icons": [0.5, 0.7]}, "b": {"icons": [0.6, 0.6]}, "c": {"icons": [0.1, 0.1]}}


def cells(board):
    """The rows of the table, as a Markdown reader has them: text with ** where it is strong."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(leaderboard_markdown(shown(board)))
    rows, row = [], []
    for token in tokens:
        if token.type == "inline":
            row.append("".join(_text(child) for child in token.children))
        elif token.type in ("tr_open", "tr_close"):
            rows, row = rows + [row] * (token.type == "tr_close"), []
    return rows


def _text(token):
    return "**" if token.type.startswith("strong") else token.content


def test_the_best_and_its_ties_are_bold_with_interval_and_rank(make_board):
    head, *rows = cells(make_board(THREE, icons=2))
    assert head == ["Method", "Avg rank", "icons (seen)", "mean seen", "mean all"]
    assert rows == [
        ["a", "**1.50**", "**60.0**±13.9\xa0(rank 1.5)", "60.0", "60.0"],
        ["b", "**1.50**", "**60.0**±0.0\xa0(rank 1.5)", "60.0", "60.0"],
        ["c", "3.00", "10.0±0.0\xa0(rank 3)", "10.0", "10.0"],
    ]


def test_awkward_names_are_shown_as_they_are_in_one_cell(make_board, awkward):
    accuracies = {f"m{i}": {"icons": [i / 10, i / 10]} for i in range(len(awkward))}
    names = dict(zip(accuracies, awkward, strict=True))
    rows = cells(make_board(accuracies, names=names, icons=2))[1:]
    assert {row[0] for row in rows} == {" ".join(name.split()) for name in awkward}
    assert {len(row) for row in rows} == {5}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(string.printable + "é±†", min_size=1).filter(str.strip))
def test_any_name_is_shown_as_it_is(make_board, name):
    (row,) = cells(make_board({"a": {"icons": [0.5, 0.5]}}, names={"a": name}, icons=2))[1:]
    assert row[0] == " ".join(name.split())
    assert len(row) == 5


def test_a_contaminated_cell_has_a_dagger_and_a_missing_one_a_dash(make_board):
    accuracies = {"a": {"icons": [0.5, 0.7]}, "b": {"icons": [0.5], "mnist": [0.5, 0.5]}}
    text = leaderboard_markdown(shown(make_board(accuracies, contaminated={("a", "icons")}, icons=2, mnist=2)))
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if re.match(r"\| [ab] ", line)
    ]
    assert lines == [
        ["a", "–", "†60.0±13.9", "–", "–", "–"],
        ["b", "–", "1/2", "**50.0**±0.0&nbsp;(rank 1)", "–", "–"],
    ]
    assert "- †: the backbone was trained on these very test classes" in text
    assert "n/2: n episodes are done so far (–: none)" in text
