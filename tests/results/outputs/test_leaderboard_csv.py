import csv
import io

import pytest

from results.outputs.leaderboard_csv import leaderboard_csv

ACCURACIES = {
    "url": {"icons": [0.5, 0.7], "mnist": [0.3]},
    "ncc": {"icons": [0.5, 0.5], "mnist": [0.1, 0.3]},
}


def lines(board):
    return list(csv.DictReader(io.StringIO(leaderboard_csv(board), newline="")))


def test_the_csv_holds_one_complete_line_per_method(make_board):
    assert leaderboard_csv(make_board(ACCURACIES, icons=2, mnist=2)).split("\n") == [
        "plan,benchmark,setting,split,seed,episodes,seen_domains,unseen_domains,name,method,backbone,hyper,contaminated,"
        "avg_rank,avg_rank_plain,avg_rank_official10,avg_rank_papers13,seen_mean,unseen_mean,all_mean,"
        "icons,icons_ci95,icons_rank,icons_n,mnist,mnist_ci95,mnist_rank,mnist_n",
        "plan,pocket,,test,0,2,icons,mnist,ncc,ncc,net,,,1.2500,1.5000,,,50.0000,20.0000,35.0000,"
        "50.0000,0.0000,1.5000,2,20.0000,13.8593,1.0000,2",
        "plan,pocket,,test,0,2,icons,mnist,url,url,net,,,,,,,,,,60.0000,13.8593,1.5000,2,,,,1",
        "",
    ]


def test_a_method_is_listed_with_the_domains_its_backbone_was_trained_on(make_board):
    found = lines(make_board(ACCURACIES, contaminated={("url", "icons")}, icons=2, mnist=2))
    assert {line["method"]: line["contaminated"] for line in found} == {"ncc": "", "url": "icons"}
    assert {line["seen_domains"] for line in found} == {""}  # nobody's mean counts icons
    assert found[0]["seen_mean"] == ""


def test_awkward_names_come_back(make_board, awkward):
    accuracies = {f"m{i}": {"icons": [i / 10, i / 10]} for i in range(len(awkward))}
    names = dict(zip(accuracies, awkward, strict=True))
    found = [line["method"] for line in lines(make_board(accuracies, names=names, icons=2))]
    assert {name.removeprefix("'") for name in found} == set(awkward)
    assert "'=1+1" in found


def test_a_method_on_several_backbones_has_a_name_of_its_own_for_each_and_stays_one_method(make_board):
    (line,) = lines(make_board({"a": {"icons": [0.5, 0.5]}}, names={"a": "ncc @ net"}, icons=2))
    assert (line["name"], line["method"], line["backbone"]) == ("ncc @ net", "ncc", "net")


@pytest.mark.parametrize("domain", ["seed", "method", "icons_n"])
def test_a_domain_called_like_another_column_has_columns_of_its_own(make_board, domain):
    accuracies = {"ncc": {"icons": [0.5, 0.5], domain: [0.25, 0.25]}}
    (line,) = lines(make_board(accuracies, **{"icons": 2, domain: 2}))
    assert (line[f"domain:{domain}"], line[f"domain:{domain}_n"]) == ("25.0000", "2")
    assert (line["seed"], line["method"], line["icons_n"]) == ("0", "ncc", "2")


def test_every_average_rank_has_its_column(make_board):
    names = [
        "ilsvrc_2012",
        "omniglot",
        "aircraft",
        "cu_birds",
        "dtd",
        "quickdraw",
        "fungi",
        "vgg_flower",
        "traffic_sign",
        "mscoco",
    ]
    accuracies = {
        "a": {name: [0.6, 0.8] for name in [*names, "mnist"]},
        "b": {name: [0.5, 0.7] for name in names} | {"mnist": [0.1, 0.1]},
    }
    first, second = lines(make_board(accuracies, **dict.fromkeys([*names, "mnist"], 2)))
    assert [float(first[f"avg_rank{end}"]) for end in ("", "_plain", "_official10")] == [
        pytest.approx((10 * 1.5 + 1) / 11, abs=1e-4),
        1.0,
        1.5,
    ]
    assert (second["avg_rank_plain"], second["avg_rank_papers13"]) == ("2.0000", "")
