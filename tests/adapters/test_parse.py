"""Adapters as they are written on a command line."""

import numpy as np
import pytest

import adapters
from adapters import BadHyperparameter, parse, parse_list


@pytest.mark.parametrize(
    "text",
    ["url(lr=0.5, steps=20)", "url:lr=0.5,steps=20", " url ( lr = 0.5 , steps = 20 ) ", "url:lr='0.5',steps=20"],
)
def test_both_ways_to_write_hyperparameters_mean_the_same(text):
    assert parse(text) == ("url", {"lr": "0.5", "steps": "20"})


@pytest.mark.parametrize("text", ["url", "url()", " url "])
def test_a_name_alone_has_no_hyperparameters(text):
    assert parse(text) == ("url", {})


def test_a_path_is_read_as_a_name():
    assert parse("../mine/my_method.py:scale=3") == ("../mine/my_method.py", {"scale": "3"})


@pytest.mark.parametrize(
    "text", ["", "url(lr=1", "url lr=1", "url)", "=1", "url:lr", "url(lr=)", "url:lr=1,lr=2", "a(b=1)c"]
)
def test_what_cannot_be_read_is_quoted(text):
    with pytest.raises(BadHyperparameter) as caught:
        parse(text)
    assert f"'{text}'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "ncc,url(lr=0.5,steps=20),copa",
        "ncc url(lr=0.5, steps=20) copa",
        "ncc,url:lr=0.5,steps=20,copa",
        " ncc, url:lr=0.5,steps=20 copa,",
    ],
)
def test_lists_are_separated_by_commas_or_spaces(text):
    assert parse_list(text) == [("ncc", {}), ("url", {"lr": "0.5", "steps": "20"}), ("copa", {})]


@pytest.mark.parametrize("text", ["ncc,my files/g.py,url", "ncc, my files/g.py , url"])
def test_a_path_may_have_spaces_between_commas(text, tmp_path, monkeypatch):
    (tmp_path / "my files").mkdir()
    (tmp_path / "my files/g.py").touch()
    monkeypatch.chdir(tmp_path)
    assert parse_list(text) == [("ncc", {}), ("my files/g.py", {}), ("url", {})]
    assert parse_list("my files/g.py(lr=1, steps=2)") == [("my files/g.py", {"lr": "1", "steps": "2"})]
    assert parse("my files/g.py:lr=1") == ("my files/g.py", {"lr": "1"})


def test_an_empty_list_is_empty():
    assert parse_list(" ") == []


def test_numpy_scalars_serve_as_hyperparameters():
    configuration = adapters.configuration(adapters.load("url", lr=np.float64(0.5), steps=np.int64(3)))
    assert configuration["hyperparameters"] == {"lr": 0.5, "steps": 3}
    assert type(configuration["hyperparameters"]["lr"]) is float
