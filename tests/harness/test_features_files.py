"""`metabench run --features`: features and labels from files, without any image."""

import csv
import json
import sqlite3
import struct
import zipfile

import numpy as np
import pytest
import torch

import backbones
from backbones.embeddings import embed_in_fixed_batches
from episodes.dataset import DatasetRecords
from episodes.images import Images
from episodes.stream import load_images
from harness.config import load_benchmark
from harness.given_features import features_run

PROTOCOL = "protocol = { num_ways = 5, num_support = 2, num_query = 3, ignore_hierarchy = true }\n"
FIVE_WAY = 'name = "five"\ntitle = "Five way"\ntasks = 4\ndomains = "all"\nadapters = ["ncc"]\n' + PROTOCOL


def written(path, features=None, labels=None, *, classes=7, images=6, d=4, **arrays):
    """An .npz of `classes` well separated classes, unless its arrays are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(classes)
    own = np.arange(classes).repeat(images)
    centres = 5 * rng.standard_normal((classes, d))
    given = {
        "features": (centres[own] + rng.standard_normal((len(own), d))).astype(np.float32),
        "labels": own,
        **arrays,
    }
    given |= {} if features is None else {"features": features}
    given |= {} if labels is None else {"labels": labels}
    np.savez(path, **{name: array for name, array in given.items() if array is not False})
    return given


@pytest.fixture
def run(metabench, workspace):
    """Run the five-way benchmark on features, `run("feats", ...)`."""
    (workspace / "five.toml").write_text(FIVE_WAY)
    return lambda place, *options: metabench("run", "five.toml", "--features", place, "--workers", 1, *options)


def rows(folder, columns="domain, adapter, task, accuracy"):
    with sqlite3.connect(folder / "results.sqlite") as database:
        return sorted(database.execute(f"SELECT {columns} FROM rows"))


def board(workspace):
    with (workspace / "runs/leaderboard.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_features_of_a_network_give_what_the_network_gives(run_ok, metabench, workspace, tiny_records):
    run_ok("--adapters", "ncc,url", "--out", "images")
    backbone = backbones.load("raw-pixels")
    for name in ("reds", "blues"):
        records = DatasetRecords(tiny_records / name)
        counts = records.spec.images_per_class
        images = Images.concatenate([(c, np.arange(n)) for c, n in enumerate(counts.tolist())])
        pixels = load_images(records, images, 84)
        features = torch.cat(list(embed_in_fixed_batches(backbone, [pixels]))).numpy()
        written(workspace / f"feats/{name}.npz", features, images.classes)
    done = metabench("run", "tiny.toml", "--features", "feats", "--adapters", "ncc,url", "--workers", 1)
    assert done.status == 0, done.err
    assert rows(workspace / "runs") == rows(workspace / "images")
    assert "0 of them to embed" in done.out


def test_a_run_on_features_is_stored_shown_and_not_computed_again(run, workspace):
    written(workspace / "feats/a.npz")
    written(workspace / "feats/b.npz", classes=9)
    first = run("feats", "--adapters", "ncc,url", "--trained-on", "a=all")
    assert first.status == 0, first.err
    assert {(domain, flags, dtype) for domain, flags, dtype in rows(workspace / "runs", "domain, flags, dtype")} == {
        (domain, f'{{"pixels": "none", "hyper": "{hyper}"}}', "float32")
        for domain in ("a", "b")
        for hyper in ("fixed", "official")
    }
    assert {line["backbone"] for line in board(workspace).values()} == {"feats"}
    assert {line["contaminated"] for line in board(workspace).values()} == {"a"}
    assert "all done already" in run("feats", "--adapters", "ncc,url", "--trained-on", "a=all").out
    manifest = json.loads(max((workspace / "runs/manifests").iterdir()).read_text())
    assert manifest["features"] == str(workspace / "feats")


def test_what_is_said_later_of_the_same_features_marks_the_methods_of_before_too(run, workspace):
    written(workspace / "feats/a.npz")
    written(workspace / "feats/b.npz", classes=9)
    run("feats", "--adapters", "ncc,knn")
    later = run("feats", "--adapters", "ncc", "--trained-on", "a=all,b")
    assert {method: line["contaminated"] for method, line in board(workspace).items()} == {"ncc": "a", "knn": "a"}
    assert "not all backbones" not in later.out


def test_features_of_two_networks_for_the_same_images_stand_on_one_leaderboard(run, workspace):
    given = written(workspace / "one/a.npz")
    written(workspace / "two/a.npz", given["features"] * np.float32([1, 1, 0, 0]), given["labels"])
    assert run("one").status == run("two").status == 0
    assert set(board(workspace)) == {"ncc @ one", "ncc @ two"}


def test_changed_features_are_other_results_under_the_same_name(run, workspace):
    given = written(workspace / "feats/a.npz")
    run("feats")
    given["features"][0, 0] += 1
    written(workspace / "feats/a.npz", given["features"], given["labels"])
    assert "4 to run" in run("feats").out
    assert set(board(workspace)) == {"ncc"}
    assert len(rows(workspace / "runs")) == 8


def test_the_same_features_elsewhere_and_in_another_form_are_the_same_results(run, workspace):
    given = written(workspace / "feats/a.npz")
    run("feats")
    (workspace / "elsewhere/feats").mkdir(parents=True)
    np.save(workspace / "elsewhere/feats/a.npy", given["features"])
    np.save(workspace / "elsewhere/feats/a.labels.npy", given["labels"])
    assert "all done already" in run("elsewhere/feats").out


def test_a_single_file_is_a_data_set_of_its_name(run, workspace):
    written(workspace / "birds.npz")
    assert run("birds.npz").status == 0
    assert {domain for domain, *_ in rows(workspace / "runs")} == {"birds"}


def test_labels_may_be_text_in_any_order_and_half_precision_is_enough(run, workspace):
    given = written(workspace / "plain/a.npz")
    run("plain")
    order = np.argsort(np.arange(len(given["labels"])) % 6, kind="stable")  # class 0 to 6, again and again
    texts = np.array([f"class {label}" for label in given["labels"]])
    written(workspace / "mixed/a.npz", given["features"][order].astype(np.float16), texts[order])
    assert run("mixed", "--out", "other").status == 0
    plain, mixed = (np.array([row[3] for row in rows(workspace / out)]) for out in ("runs", "other"))
    np.testing.assert_allclose(mixed, plain, atol=0.1)
    assert {dtype for (dtype,) in rows(workspace / "other", "dtype")} == {"float16"}


def test_double_precision_stays_double(run, workspace):
    given = written(workspace / "feats/a.npz")
    near = given["features"].astype(np.float64) * 1e-12 + 1.0  # equal in single precision
    written(workspace / "feats/a.npz", near - near.mean(0), given["labels"])
    assert run("feats").status == 0
    assert np.mean([row[3] for row in rows(workspace / "runs")]) > 0.9


def test_features_of_several_networks_are_for_methods_over_several(run, workspace):
    given = written(workspace / "feats/a.npz")
    both = np.stack([given["features"], given["features"] ** 3], axis=1)
    written(workspace / "feats/a.npz", both, given["labels"])
    assert run("feats", "--adapters", "sur").status == 0
    assert np.mean([row[3] for row in rows(workspace / "runs")]) > 0.9
    assert "adapter 'ncc' works on one network, not 2 (feats)" in run("feats").error


def test_each_of_several_networks_has_its_own_vectors(run, workspace):
    given = written(workspace / "feats/a.npz")
    both = np.stack([given["features"], -given["features"]], axis=1)
    written(workspace / "feats/a.npz", both, given["labels"])
    chosen = features_run(workspace / "feats", load_benchmark("fixed-5w5s"), None, "test", None)
    (domain,) = chosen.source.domains
    members = backbones.members_of(chosen.backbone.load("cpu"))
    found = [member.vectors.load([(domain.records.fingerprint(2), np.array([5, 0]))]) for member in members]
    expected = given["features"][[17, 12]]  # six of each class
    assert [vectors.tolist() for vectors in found] == [expected.tolist(), (-expected).tolist()]


def test_one_network_of_several_is_one_network(run, workspace):
    given = written(workspace / "feats/a.npz")
    written(workspace / "feats/a.npz", given["features"][:, None], given["labels"])
    assert run("feats").status == 0


def test_a_folder_of_the_split_goes_before_the_folder_itself(run, workspace):
    written(workspace / "feats/test/a.npz")
    written(workspace / "feats/valid/b.npz")
    run("feats")
    run("feats", "--split", "valid", "--out", "other")
    assert {row[0] for row in rows(workspace / "runs")} == {"a"}
    assert {row[0] for row in rows(workspace / "other", "domain, split")} == {"b"}


def test_a_published_data_set_says_that_its_hierarchy_is_not_there(metabench, workspace):
    written(workspace / "feats/omniglot.npz")
    written(workspace / "feats/dtd.npz")
    options = ("--tasks", 2, "--adapters", "ncc", "--workers", 1)
    done = metabench("run", "meta-dataset-mdl", "--features", "feats", *options)
    assert done.status == 0, done.err
    assert "caution   omniglot: classes are drawn without the hierarchy" in done.out
    assert "left out ilsvrc_2012, aircraft" in done.out


# --- refusals


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        ("copa(heads=transformer)", "adapter 'copa' needs 'maps'; episodes offer features"),
        ("tsa", "adapter 'tsa' needs the network itself: feats are features that were computed before"),
        ("finetune", "adapter 'finetune' needs "),
    ],
)
def test_a_method_that_looks_at_images_or_maps_is_refused_with_the_reason(run, workspace, adapter, words):
    written(workspace / "feats/a.npz")
    assert words in run("feats", "--adapters", adapter).error


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"features": np.full((42, 4), np.nan, np.float32)}, "a.npz: vector 0 holds NaN or infinity"),
        ({"features": np.ones((41, 4), np.float32)}, "a.npz: 41 features, but 42 labels"),
        ({"features": np.ones((42, 4), int)}, "a.npz: features of type int64; float16, float32 or float64"),
        ({"features": np.ones(42, np.float32)}, "a.npz: features of shape (42,); (n, d) is wanted"),
        ({"features": np.ones((0, 4), np.float32)}, "a.npz: features of shape (0, 4)"),
        ({"labels": np.arange(42) / 7}, "a.npz: labels of shape (42,), type float64; (n,) integers or text are"),
        ({"labels": np.array([object()] * 42)}, "a.npz: holds Python objects, which are not read since that can run"),
        ({"labels": np.array([0] * 41 + [9])}, "a.npz: label '9' has one vector; a class needs two"),
        ({"labels": np.arange(42) % 4}, "a (test split): an episode needs 5 classes"),
        ({"labels": False, "targets": np.arange(42)}, "a.npz: no array 'labels'; it holds features, targets"),
    ],
)
def test_bad_features_are_one_line_that_names_file_and_fault(run, workspace, arrays, words):
    named = {name: array for name, array in arrays.items() if name not in ("features", "labels")}
    written(workspace / "feats/a.npz", arrays.get("features"), arrays.get("labels"), **named)
    assert words in run("feats").error


def test_a_vector_that_is_not_finite_is_named_wherever_it_lies(run, workspace):
    features = np.ones((10_000, 2), np.float16)
    features[8765, 1] = np.inf
    written(workspace / "feats/a.npz", features, np.arange(10_000) % 7)
    assert "a.npz: vector 8765 holds NaN or infinity" in run("feats").error


def test_a_damaged_file_is_named_and_the_others_can_be_run(run, workspace):
    written(workspace / "feats/a.npz")
    written(workspace / "feats/b.npz")
    path = workspace / "feats/a.npz"
    path.write_bytes(path.read_bytes()[:-40])
    error = run("feats").error
    assert "a.npz: cannot be read" in error
    assert error.endswith("; to run the rest: --datasets b")
    assert run("feats", "--datasets", "b").status == 0


def array_file(header):
    """The bytes of an .npy with that header and nothing behind it."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


@pytest.mark.parametrize("length", [10**14, 2**70])
def test_an_array_that_claims_an_absurd_size_is_named(run, workspace, length):
    data = array_file(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({length}, 1), }}")
    (workspace / "feats").mkdir()
    with zipfile.ZipFile(workspace / "feats/a.npz", "w") as archive:
        archive.writestr("features.npy", data)
        archive.writestr("labels.npy", data)
    assert "a.npz: cannot be read (" in run("feats").error


@pytest.mark.parametrize("header", ["(" * 118, "  {\n 1"])
def test_an_array_whose_header_is_nonsense_is_named(run, workspace, header):
    (workspace / "feats").mkdir()
    (workspace / "feats/a.npy").write_bytes(array_file(header))
    np.save(workspace / "feats/a.labels.npy", np.arange(4))
    assert "a.npy: cannot be read (" in run("feats").error


def test_a_file_of_another_kind_is_named_as_such_and_not_as_python_objects(run, workspace):
    written(workspace / "feats/a.npz")
    (workspace / "feats/a.npz").write_text("0.1, 0.2\n")
    assert "a.npz: is no .npz file of NumPy, whatever its name says" in run("feats").error
    (workspace / "feats/a.npz").unlink()
    np.save(workspace / "feats/a.npy", np.ones((4, 2)))
    (workspace / "feats/a.labels.npy").write_text("dog\ncat\n")
    assert "a.labels.npy: is no .npy file of NumPy" in run("feats").error
    written(workspace / "feats/a.npz")
    (workspace / "feats/a.npz").replace(workspace / "feats/a.npy")
    assert "a.npy: is no .npy file of NumPy" in run("feats").error


def test_an_archive_with_text_in_the_place_of_an_array_is_named(run, workspace):
    (workspace / "feats").mkdir()
    with zipfile.ZipFile(workspace / "feats/a.npz", "w") as archive:
        archive.writestr("features.npy", "0.1, 0.2\n")
        archive.writestr("labels.npy", "dog\n")
    assert "a.npz: its features or labels are no array of NumPy" in run("feats").error


def test_files_that_are_missing_or_do_not_fit_are_named(run, workspace):
    assert "nowhere: no such file or folder" in run("nowhere").error
    (workspace / "empty").mkdir()
    assert "empty: no features in it" in run("empty").error
    np.save(workspace / "empty/a.npy", np.ones((4, 2)))
    assert "a.labels.npy: missing; it holds the label of each vector in a.npy" in run("empty").error
    written(workspace / "feats/birds.npz")
    assert (
        "no data set in benchmark 'five': 'brids'. Did you mean 'birds'?" in run("feats", "--datasets", "brids").error
    )
    written(workspace / "feats/wide.npz", d=5)
    error = run("feats").error
    assert "features of one network are wanted, but birds has float32 (4,) and wide float32 (5,)" in error
    np.save(workspace / "feats/birds.npy", np.ones((4, 2)))
    assert "birds.npz: birds.npy is there too; take one of them away" in run("feats").error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--features", "x", "--backbone", "raw-pixels"], "so that --backbone has no use"),
        (["--features", "x", "--dtype", "float64"], "so that --dtype has no use"),
        (["--trained-on", "icons"], "--trained-on is about --features; a backbone has a card"),
    ],
)
def test_options_that_exclude_each_other_are_wrong_usage(metabench, options, words):
    done = metabench("run", "pocket", *options)
    assert done.status == 2
    assert words in done.err
