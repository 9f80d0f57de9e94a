"""The class graph of a hierarchical data set (ImageNet's WordNet subgraphs): leaves, and what each node spans."""

from collections import Counter
from collections.abc import Sequence

import msgspec

MAX_SPANNED = 2**22
"""Bound on the classes below all children of all nodes, added up: hundreds of times what ImageNet's graph has."""


class Node(msgspec.Struct, frozen=True):
    """One synset: `wn_id`, its words, and the ids of the nodes below and above it in the same subgraph."""

    wn_id: str
    words: str
    children_ids: list[str]
    parents_ids: list[str]


def leaves(nodes: Sequence[Node]) -> list[str]:
    """The wn_ids of the nodes without children, sorted: a split's classes in order of their ids."""
    return sorted(node.wn_id for node in nodes if not node.children_ids)


def spanned_leaves(nodes: Sequence[Node]) -> list[list[int]]:
    """For every inner node, sorted by wn_id, the sorted positions (in `leaves`) of the leaves below it.

    Raises ValueError for a node that stands twice, for a child that is not in the graph, for a cycle, and for a graph
    so dense that its spans would not fit in memory.
    """
    by_id = {node.wn_id: node for node in nodes}
    if len(by_id) < len(nodes):
        twice = next(wn_id for wn_id, count in Counter(node.wn_id for node in nodes).items() if count > 1)
        raise ValueError(f"split_subgraphs: node {twice!r} stands twice")
    below = {wn_id: [i] for i, wn_id in enumerate(leaves(nodes))}
    spanned = 0
    for node in _children_first(by_id):
        if node.children_ids:
            spanned += sum(len(below[child]) for child in node.children_ids)
            if spanned > MAX_SPANNED:
                raise ValueError(f"split_subgraphs: the nodes span more than {MAX_SPANNED} classes, all added up")
            below[node.wn_id] = sorted(set().union(*(below[child] for child in node.children_ids)))
    return [below[wn_id] for wn_id in sorted(by_id) if by_id[wn_id].children_ids]


def _children_first(by_id: dict[str, Node]) -> list[Node]:
    """The nodes in an order in which every node follows all of its children."""
    waiting = {wn_id: len(set(node.children_ids)) for wn_id, node in by_id.items()}
    parents: dict[str, list[str]] = {wn_id: [] for wn_id in by_id}
    for wn_id, node in by_id.items():
        for child in set(node.children_ids):
            if child not in parents:
                raise ValueError(f"split_subgraphs: {wn_id!r} has the child {child!r}, which is not in the graph")
            parents[child].append(wn_id)
    ready = [wn_id for wn_id, count in waiting.items() if count == 0]
    order = []
    while ready:
        wn_id = ready.pop()
        order.append(by_id[wn_id])
        for parent in parents[wn_id]:
            waiting[parent] -= 1
            if waiting[parent] == 0:
                ready.append(parent)
    if len(order) < len(by_id):
        stuck = min(wn_id for wn_id, count in waiting.items() if count)
        raise ValueError(f"split_subgraphs: {stuck!r} is its own descendant (a cycle)")
    return order
