"""How the official vectors are replayed; used on the golden files and on the full conformance set."""

import ast

import numpy as np

from episodes.decode import decode_image, resize_normalize
from episodes.plan import ClassCursor
from episodes.sampling import EpisodeConfig, EpisodeSampler, SplitClasses


def config_of(case):
    official = ast.literal_eval(case["config"]) if isinstance(case["config"], str) else case["config"]
    shots = official["num_support"]
    return EpisodeConfig(
        num_ways=official["num_ways"],
        num_support=tuple(shots) if isinstance(shots, list | tuple) else shots,
        num_query=official["num_query"],
        min_ways=official["min_ways"],
        max_ways=official["max_ways_upper_bound"],
        max_num_query=official["max_num_query"],
        max_support_size=official["max_support_set_size"],
        max_support_per_class=official["max_support_size_contrib_per_class"],
        min_log_weight=official["min_log_weight"],
        max_log_weight=official["max_log_weight"],
        min_examples_in_class=official["min_examples_in_class"],
        ignore_hierarchy=official["ignore_dag_ontology"] or official["ignore_bilevel_ontology"],
        ignore_hierarchy_probability=official["ignore_hierarchy_probability"],
    )


def check_decoding(vectors, count):
    """Hold `count` JPEGs to TensorFlow's pixels and to its network input, bit for bit."""
    for i in range(count):
        image = decode_image(vectors[f"jpeg_{i:02d}"].tobytes())
        np.testing.assert_array_equal(image, vectors[f"pixels_{i:02d}"])
        network_input = resize_normalize(image, 84).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(network_input, vectors["out84"][i])


def different_descriptions(case):
    """How many of the case's episodes our sampler describes differently."""
    bilevel = case["sampler_kwargs"].get("use_bilevel_hierarchy")
    classes = SplitClasses(
        np.array(case["images_per_class"]),
        superclass_sizes=np.array(case["superclass_sizes"]) if bilevel else None,
        spanned_leaves=case.get("span_leaves_rel"),
    )
    sampler = EpisodeSampler(classes, config_of(case), np.random.RandomState(case["sampler_seed"]))
    descriptions = (sampler.sample() for _ in case["episodes"])
    return sum(
        [[c, s, d.num_query] for c, s in zip(d.class_ids.tolist(), d.num_support.tolist(), strict=True)] != expected
        for d, expected in zip(descriptions, case["episodes"], strict=True)
    )


def different_cursors(case, images_per_class, first_class_id):
    """How many episodes' record numbers differ from the official reader's, classes and sizes being given."""
    cursors = {}
    different = 0
    for episode in case["episodes"]:
        support, query = [], []
        for label, class_id in enumerate(dict.fromkeys(row[0] for row in episode["support"])):
            size = images_per_class[class_id - first_class_id]
            cursor = cursors.setdefault(class_id, ClassCursor(b"", class_id, size, shuffle=False))
            shots, queries = (sum(row[0] == class_id for row in episode[part]) for part in ("support", "query"))
            taken = cursor.take(shots + queries).tolist()
            support += [[class_id, record, label] for record in taken[:shots]]
            query += [[class_id, record, label] for record in taken[shots:]]
        different += support != episode["support"] or query != episode["query"]
    return different
