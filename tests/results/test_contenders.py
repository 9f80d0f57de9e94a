import json
from dataclasses import asdict

import pandas as pd
import pytest

from results.contenders import contenders, find
from results.entries import Entry
from results.errors import ContenderError


@pytest.fixture
def plan_of(make_row):
    """plan_of((method, row options, on the leaderboard?), ...): the rows and entries of a plan of two domains."""

    def make(*methods):
        rows, entries = [], []
        for method, options, listed in methods:
            options = dict(options)
            label = options.pop("label", options.get("backbone", "net"))
            for domain in ("icons", "mnist"):
                adapter = method.split("(")[0].strip()
                made = [make_row(adapter, domain, task, 0.5, **options) for task in range(3)]
                rows += made
                if listed:
                    entries.append(
                        Entry(
                            method=method,
                            backbone=label,
                            domain=domain,
                            adapter_hash=made[0].adapter_hash,
                            backbone_hash=made[0].backbone_hash,
                            flags=made[0].flags,
                            seen="unseen",
                        )
                    )
        entries = pd.DataFrame([asdict(entry) for entry in entries], columns=list(Entry.__dataclass_fields__))
        return contenders(pd.DataFrame([asdict(row) for row in rows]), entries)

    return make


OFFICIAL, FIXED = json.dumps({"hyper": "official"}), json.dumps({"hyper": "fixed"})


@pytest.fixture
def settings(plan_of):
    """One adapter with published rates, without them, and with a rate of the user's."""
    return plan_of(
        ("url", {"flags": OFFICIAL, "hyperparameters": {"lr": 1.0}}, True),
        ("url (fixed)", {"flags": FIXED, "hyperparameters": {"lr": 1.0}}, True),
        ("url(lr=0.5)", {"flags": OFFICIAL, "hyperparameters": {"lr": 0.5}}, True),
    )


def test_what_config_leaves_out_is_as_usual(settings):
    assert find(settings, "url", "url", "").name == "url @ net"


@pytest.mark.parametrize("rest", [":fixed", "net:fixed", "net:hyper=fixed", "net:fixed,float32"])
def test_a_setting_is_found_by_its_word(settings, rest):
    assert find(settings, f"url@{rest}", "url", rest).short == "url (fixed)"


def test_the_name_on_the_leaderboard_is_understood(settings):
    assert find(settings, "url (fixed)", "url (fixed)", "").short == "url (fixed)"
    assert find(settings, "url(lr=0.5)", "url(lr=0.5)", "").short == "url(lr=0.5)"


def test_each_row_belongs_to_one_contender(settings):
    assert [len(one.rows) for one in settings] == [6, 6, 6]


def test_settings_with_the_same_numbers_are_two_contenders(settings):
    official, fixed = (find(settings, "", "url", f":{word}") for word in ("official", "fixed"))
    assert official.short != fixed.short


@pytest.fixture
def networks(plan_of):
    """One method on networks whose names hold what the grammar uses."""
    return plan_of(
        ("ncc", {"backbone": "net.py:make"}, True),
        ("ncc", {"backbone": "hf:lab/net"}, True),
        ("ncc", {"backbone": "hf:lab/net", "dtype": "bfloat16", "label": "hf:lab/net bfloat16"}, True),
        ("ncc", {"backbone": "one+two"}, True),
    )


@pytest.mark.parametrize(
    ("rest", "label"),
    [
        ("net.py:make", "net.py:make"),
        ("hf:lab/net", "hf:lab/net"),
        ("hf:lab/net:bfloat16", "hf:lab/net bfloat16"),
        ("hf:lab/net bfloat16", "hf:lab/net bfloat16"),
        (":bfloat16", "hf:lab/net bfloat16"),
        ("one+two", "one+two"),
    ],
)
def test_a_backbone_keeps_its_colons_and_pluses(networks, rest, label):
    assert find(networks, f"ncc@{rest}", "ncc", rest).label == label


def test_several_that_fit_are_listed(networks):
    with pytest.raises(ContenderError, match=r"'ncc' may be any of .*ncc @ hf:lab/net.*ncc @ net.py:make.*one\+two"):
        find(networks, "ncc", "ncc", "")


def test_an_unknown_method_gets_the_nearest_name(networks):
    with pytest.raises(ContenderError, match="no method 'nc' on this plan. Did you mean 'ncc'"):
        find(networks, "nc", "nc", "")


def test_an_unknown_backbone_gets_the_nearest_name(networks):
    with pytest.raises(ContenderError, match="no backbone 'hf:lab/nets' on this plan. Did you mean 'hf:lab/net'"):
        find(networks, "ncc@hf:lab/nets", "ncc", "hf:lab/nets")


def test_a_config_that_nothing_has_is_named(networks):
    with pytest.raises(ContenderError, match="nothing here is float16. Known: .*ncc @ hf:lab/net bfloat16"):
        find(networks, "ncc@hf:lab/net:float16", "ncc", "hf:lab/net:float16")


@pytest.fixture
def checkpoints(plan_of):
    """A network that was trained on under its name: its former rows are stored, its entries are gone."""
    return plan_of(
        ("ncc", {"backbone_hash": "new", "weights_sha256": "beef" + 60 * "0"}, True),
        ("ncc", {"backbone_hash": "old", "weights_sha256": "cafe" + 60 * "0"}, False),
    )


def test_a_former_checkpoint_is_found_by_its_weights(checkpoints):
    now, before = find(checkpoints, "ncc", "ncc", ""), find(checkpoints, "", "ncc", "net:cafe")
    assert (now.former, before.former) == (False, True)
    assert before.name == "ncc @ net [weights cafe0000, version 1]"
    assert len(before.rows) == 6


def test_a_former_contender_is_not_meant_unless_it_is_named(checkpoints):
    assert find(checkpoints, "", "ncc", "net:float32").former is False


def test_a_former_version_of_an_adapter_is_found_by_its_number(plan_of):
    found = plan_of(("ncc", {"adapter_version": "2"}, True), ("ncc", {"adapter_version": "1"}, False))
    assert find(found, "", "ncc", ":version=1").past == " [weights weights, version 1]"


def test_former_settings_of_one_adapter_are_told_apart(plan_of):
    old = {"backbone_hash": "old", "weights_sha256": "cafe" + 60 * "0"}
    found = plan_of(
        ("ncc", {}, True),
        ("url", {**old, "hyperparameters": {"lr": 1.0}}, False),
        ("url", {**old, "hyperparameters": {"lr": 0.5}}, False),
    )
    assert find(found, "", "url(lr=0.5)", ":cafe").former
    assert {one.method for one in found} == {"ncc", "url(lr=0.5)", "url(lr=1.0)"}
