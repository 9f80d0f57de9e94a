"""A run over networks of the user's own, whose names have to mean the same in the processes that adapt to episodes."""

import sqlite3

NET = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""


def test_a_run_over_a_function_in_a_file_adapts_inside_the_network_in_other_processes(new_process, workspace):
    (workspace / "net.py").write_text(NET)
    options = ("--records", "records", "--tasks", 2, "--adapters", "ncc,finetune(steps=1)", "--workers", 2)
    done = new_process("run", "tiny.toml", *options, "--backbone", "net.py:net")
    assert done.status == 0, done.err
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        rows = list(database.execute("SELECT adapter, backbone, seen, accuracy FROM rows"))
    assert len(rows) == 8
    assert {row[1] for row in rows} == {"net:net"}
    assert {row[2] for row in rows} == {"unknown"}


def test_ls_names_the_forms_that_a_backbone_can_have(metabench):
    out = metabench("ls").out
    for form in ("FILE.py:FACTORY", "hf:FOLDER_OR_ID", "timm:NAME_OR_FOLDER", "open_clip:ARCH/WEIGHTS"):
        assert form in out


def test_a_run_over_a_network_that_cannot_be_made_ends_with_one_line(metabench, workspace):
    (workspace / "net.py").write_text("def net():\n    raise OSError('no checkpoint here')\n")
    done = metabench("run", "tiny.toml", "--records", "records", "--backbone", "net.py:net")
    assert done.status == 1
    assert done.err.splitlines()[-1] == ("error: backbone 'net:net': its factory fails: OSError: no checkpoint here")
