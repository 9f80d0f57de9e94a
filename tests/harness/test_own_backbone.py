"""A run over networks of the user's own."""

import sqlite3

NET = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""


def test_a_run_over_a_function_in_a_file_embeds_with_it_and_adapts_inside_it(run_ok, workspace):
    (workspace / "net.py").write_text(NET)
    run_ok("--datasets", "reds", "--tasks", 1, "--adapters", "ncc,finetune(steps=1)", "--backbone", "net.py:net")
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        rows = sorted(database.execute("SELECT adapter, backbone, seen FROM rows"))
    assert rows == [("finetune", "net:net", "unknown"), ("ncc", "net:net", "unknown")]


def test_ls_names_the_forms_that_a_backbone_can_have(metabench):
    out = metabench("ls").out
    for form in ("FILE.py:FACTORY", "hf:FOLDER_OR_ID", "timm:NAME_OR_FOLDER", "open_clip:ARCH/WEIGHTS"):
        assert form in out


def test_a_run_over_a_network_that_cannot_be_made_ends_with_one_line(run_tiny, workspace):
    (workspace / "net.py").write_text("def net():\n    raise OSError('no checkpoint here')\n")
    done = run_tiny("--backbone", "net.py:net")
    assert done.error == "error: backbone 'net:net': its factory fails: OSError: no checkpoint here"
