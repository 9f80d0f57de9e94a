"""What README shows is what there is."""

import re
from pathlib import Path

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text()


def test_the_example_adapter_is_the_one_that_is_tested():
    (shown,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert shown == (REPO / "tests/adapters/plugins/centred_centroid.py").read_text()


def test_the_first_two_commands_are_the_two():
    commands = re.findall(r"^    (make .*)$", README, re.MULTILINE)
    assert commands[:2] == ["make benchmark", "make test"]


def test_every_target_and_option_of_the_readme_exists():
    makefile = (REPO / "Makefile").read_text()
    targets = {
        name for name in re.findall(r"make ([a-z-]+)", README) if name not in ("and", "benchmark-meta-dataset-mdl")
    }
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert (REPO / "harness/benchmarks/meta-dataset-mdl.toml").is_file()
    options = set(re.findall(r"(--[a-z][a-z-]*)", README)) - {"--traceback"}
    source = "".join(path.read_text() for path in (REPO / "harness").glob("cli*.py"))
    parameters = {f"--{name.replace('_', '-')}" for name in re.findall(r"^    (\w+): ", source, re.MULTILINE)}
    assert options <= parameters | set(re.findall(r"\"(--[a-z-]+)\"", source))
