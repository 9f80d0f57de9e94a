import json
import os
from pathlib import Path

import pandas as pd
import pytest

from results.ranks import average_ranks

SHARED = Path(os.environ.get("METABENCH_SHARED", Path(__file__).parents[3] / "shared"))
PUBLISHED = SHARED / "conformance" / "published" / "meta_dataset_leaderboard_imagenet_only.json"


@pytest.fixture(scope="module")
def published():
    return json.loads(PUBLISHED.read_text())


@pytest.fixture(scope="module")
def ranks(published):
    cells = [
        (dataset, name, accuracy, ci95)
        for name, method in published["tables"]["imagenet"].items()
        for dataset, accuracy, ci95 in zip(published["datasets"], method["acc"], method["ci95"], strict=True)
    ]
    return average_ranks(pd.DataFrame(cells, columns=["dataset", "method", "accuracy", "ci95"]))


def test_all_160_published_ranks_are_reproduced(published, ranks):
    expected = {
        (dataset, name): rank
        for name, method in published["tables"]["imagenet"].items()
        for dataset, rank in zip(published["datasets"], method["ranks"], strict=True)
    }
    assert len(expected) == 160
    assert ranks.set_index(["dataset", "method"])["rank"].to_dict() == expected


def test_all_16_published_average_ranks_are_reproduced(published, ranks):
    expected = {name: method["avg_rank"] for name, method in published["tables"]["imagenet"].items()}
    assert len(expected) == 16
    assert ranks.groupby("method")["rank"].mean().to_dict() == pytest.approx(expected, abs=1e-12)
