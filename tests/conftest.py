"""Small data sets for all rooms' tests, and where the vectors lie."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tiny_images import images_of

from episodes.writing import write_images

GOLDEN = Path(__file__).parent / "golden"
settings.register_profile("metabench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("metabench")  # no test is about how fast the machine is
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch at its import; as many processes as cores run the tests


@pytest.fixture(scope="session")
def golden():
    """The folder of vectors that are shipped with the tests."""
    return GOLDEN


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("METABENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def flat_spec():
    """Make the JSON object of a flat spec: classes per split and images per class."""

    def make(name, per_split, counts):
        return {
            "name": name,
            "classes_per_split": dict(zip(("TRAIN", "VALID", "TEST"), per_split, strict=True)),
            "images_per_class": {str(i): n for i, n in enumerate(counts)},
            "class_names": {str(i): f"class {i}" for i in range(len(counts))},
            "path": f"/path/to/records/{name}",
            "file_pattern": "{}.tfrecords",
            "__class__": "DatasetSpecification",
        }

    return make


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory, flat_spec):
    """A folder with two data sets, `reds` and `blues`: 7 test classes each, 12 to 18 images a class."""
    root = tmp_path_factory.mktemp("records")
    for offset, name in enumerate(("reds", "blues")):
        counts = [12 + (i + offset) % 7 for i in range(7)]
        classes = [images_of(100 * offset + i, n) for i, n in enumerate(counts)]
        write_images(root / name, flat_spec(name, (0, 0, 7), counts), classes)
    return root
