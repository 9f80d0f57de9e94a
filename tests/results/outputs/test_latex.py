import re
import shutil
import subprocess

import pytest

from results.outputs.latex import leaderboard_latex
from results.outputs.table import shown

THREE = {"a": {"icons": [0.5, 0.7]}, "b": {"icons": [0.6, 0.6]}, "c": {"icons": [0.1, 0.1]}}


@pytest.fixture
def hard(make_board, awkward):
    """Eight methods, five of them with awkward names, on a domain with one, with every kind of cell."""
    accuracies = {f"m{i}": {"icons": [i / 10, i / 10], "[x_y]&%": [0.5, 0.75]} for i in range(len(awkward) + 3)}
    del accuracies["m6"]["icons"]
    accuracies["m7"]["icons"] = [0.5]
    names = {name: name for name in accuracies} | dict(zip(accuracies, awkward, strict=False))
    marked = {("m0", "[x_y]&%")}
    return make_board(accuracies, names=names, contaminated=marked, **{"icons": 2, "[x_y]&%": 2})


def body_lines(text):
    return [line for line in text.splitlines() if line.endswith("\\\\")]


def test_the_best_and_its_ties_are_bold_and_rules_are_booktabs(make_board):
    lines = leaderboard_latex(shown(make_board(THREE, icons=2))).splitlines()
    assert r"    domain &  & a & b & c \\" in lines
    assert r"    icons & seen & \textbf{60.0} $\pm$ 13.9 & \textbf{60.0} $\pm$ 0.0 & 10.0 $\pm$ 0.0 \\" in lines
    assert r"    average rank &  & \textbf{1.50} & \textbf{1.50} & 3.00 \\" in lines
    assert [line.strip() for line in lines if "rule" in line] == ["\\toprule", "\\midrule", "\\midrule", "\\bottomrule"]


def test_every_special_character_is_escaped_and_every_line_has_all_of_its_cells(hard):
    text = leaderboard_latex(shown(hard))
    assert r"a\_b \& 50\% \#1 \{x\}" in text
    assert (
        r"back\textbackslash{}slash \textbar{} \textasciitilde{}\textasciicircum{}\$\textless{}y\textgreater{}{*}{[}z]"
        in text
    )
    bare = re.sub(r"\\[\\_&%#{}$]", "", text.split("\n", 1)[1])  # the first line is a comment
    assert not re.search("[_#~%]", bare)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
    columns = {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body_lines(text)}
    assert columns == {2 + 4}  # eight methods in two blocks of four
    assert text.count("{llrrrr}") == 2
    assert all(ord(character) < 128 for character in text)


def test_unfinished_missing_and_contaminated_cells_say_so(hard):
    text = leaderboard_latex(shown(hard))
    assert r"1/2" in text
    assert r"\textendash" in text
    assert r"$^{\dagger}$62.5" in text
    assert r"\footnotesize $\dagger$: the backbone was trained on these very test classes" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_it_compiles(hard, tmp_path):
    table = leaderboard_latex(shown(hard))
    document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{table}\\end{{document}}"
    (tmp_path / "x.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
