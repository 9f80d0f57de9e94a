"""The house itself: imports go one way, and every room is ours."""

import ast
from pathlib import Path

import pytest

import metabench

REPO = Path(__file__).parents[1]
ALLOWED = {
    "harness": {"adapters", "backbones", "episodes", "results"},
    "adapters": {"backbones"},
    "backbones": {"results"},
    "episodes": {"results"},
    "results": set(),
}


def imports_of(path):
    """Every module that a file imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", metabench.ROOMS)
def test_a_room_imports_only_from_rooms_below_it(room):
    files = list((REPO / room).rglob("*.py"))
    found = {(path.name, name) for path in files for name in imports_of(path) if name.split(".")[0] in ALLOWED}
    wrong = {(file, name) for file, name in found if name.split(".")[0] not in ALLOWED[room] | {room}}
    assert files
    assert not wrong


def test_adapters_know_the_backbone_contract_only():
    names = {name for path in (REPO / "adapters").rglob("*.py") for name in imports_of(path)}
    assert {name for name in names if name.split(".")[0] == "backbones"} <= {"backbones.contract"}


@pytest.mark.parametrize("room", ["backbones", "episodes"])
def test_of_the_ground_floor_only_its_way_of_writing_files_is_used(room):
    names = {name for path in (REPO / room).rglob("*.py") for name in imports_of(path)}
    assert {name for name in names if name.split(".")[0] == "results"} <= {"results.files"}


def test_every_room_carries_our_signature():
    assert metabench.foreign_room() is None


def test_no_module_is_too_long():
    lengths = {
        path: len(path.read_text().splitlines()) for room in metabench.ROOMS for path in (REPO / room).rglob("*.py")
    }
    assert max(lengths.values()) <= 400
    assert sorted(lengths.values())[len(lengths) // 2] <= 150
