"""A copy of a frozen network in two parts: what a task's training does not reach, computed once, and the rest.

The network itself is never touched. If torch.fx can trace it, the copy is split where the first trained module comes
in; a network that cannot be traced (its control flow depends on values) is run as it is, all of it each time.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from adapters._prototypes import CosinePredictor
from backbones.contract import Backbone


class Begun(NamedTuple):
    """Images on their way through a split network: its values where the first trained module comes in, and d."""

    values: tuple[Any, ...]
    feature_dim: int


class SplitNetwork:
    """A `working_copy` whose modules and parameters called `trained` change from task to task.

    Computes on the network's `device`, in `dtype`.
    """

    def __init__(self, whole: nn.Module, trained: Collection[str]) -> None:
        like = next(whole.parameters())
        self.device, self.dtype = like.device, like.dtype
        self._format = _memory_format(like.dtype)
        self._before, self._after = _split(whole, trained) if isinstance(whole, fx.GraphModule) else (_Border(), whole)

    @torch.no_grad()
    def begin(self, images: Tensor) -> Begun:
        """What `finish` needs of images (n, 3, s, s), computed as far as no training matters."""
        images = self._prepared(images)
        feature_dim = self._after(*self._before(images[:1])).shape[1]
        return Begun(self._before(images), feature_dim)

    def finish(self, begun: Begun) -> Tensor:
        """Adapted features (n, d), differentiable in what is trained."""
        return self._after(*begun.values)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (n, 3, s, s) -> adapted features (n, d)."""
        return self._after(*self._before(self._prepared(images)))

    def _prepared(self, images: Tensor) -> Tensor:
        images = images.clone() if images.is_inference() else images  # autograd saves no tensor of inference mode
        return images.to(self.device, self.dtype).contiguous(memory_format=self._format)


@dataclass(frozen=True, slots=True, eq=False)
class AdaptedPredictor:
    """A head on the features of an adapted network: images (m, 3, s, s) -> logits (m, way)."""

    network: SplitNetwork
    head: CosinePredictor

    @property
    def prototypes(self) -> Tensor:
        """(way, d), in the space of `represent`."""
        return self.head.prototypes

    @torch.no_grad()
    def represent(self, images: Tensor) -> Tensor:
        """Images (m, 3, s, s) -> (m, d), adapted, in the space of the prototypes."""
        return self.head.represent(self.network(images))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return self.head(self.network(images))


def network_of(backbone: Backbone | nn.Module) -> nn.Module:
    """The network itself."""
    return backbone if isinstance(backbone, nn.Module) else backbone.module


def working_copy(network: nn.Module, own: Collection[nn.Parameter] = ()) -> nn.Module:
    """The module tree copied, in eval mode, over the same parameters, which no gradient reaches; only the parameters
    `own` are copied too. A graph of its modules if it can be traced. Float64 stays, anything else becomes float32."""
    copied = {id(parameter) for parameter in own}
    shared: dict[int, Any] = {
        id(each): nn.Parameter(each.detach(), requires_grad=False)
        for each in network.parameters()
        if id(each) not in copied
    }
    like = next(network.parameters())
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    whole = _traced(copy.deepcopy(network, shared).eval().to(dtype))
    for module in whole.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=_memory_format(dtype))
    return whole


def _memory_format(dtype: torch.dtype) -> torch.memory_format:
    """Channels last is faster on CPUs except in float64, for which torch has no such kernel."""
    return torch.contiguous_format if dtype == torch.float64 else torch.channels_last


class _Border(nn.Module):
    """Everything is computed anew: the border is the images themselves."""

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (images,)


def _traced(network: nn.Module) -> nn.Module:
    """The network as a graph of its modules; itself if its control flow depends on values."""
    try:
        return fx.symbolic_trace(network)
    except Exception:  # tracing runs the network's own code on stand-ins for tensors, which may fail in any way
        return network


def _split(whole: fx.GraphModule, trained: Collection[str]) -> tuple[nn.Module, nn.Module]:
    """The part that no training reaches, images -> values on the border, and the rest, those values -> output."""
    nodes = list(whole.graph.nodes)
    reached: dict[fx.Node, None] = {}
    for node in nodes:
        own = node.op in {"call_module", "get_attr"} and node.target in trained
        if own or node.op == "output" or any(source in reached for source in node.all_input_nodes):
            reached[node] = None
    frozen = [node for node in nodes if node not in reached]
    border = [node for node in frozen if any(user in reached for user in node.users)]
    return _part(whole, [], frozen, tuple(border)), _part(whole, border, [*reached][:-1], nodes[-1].args[0])


def _part(whole: fx.GraphModule, inputs: Sequence[fx.Node], nodes: Sequence[fx.Node], output: Any) -> fx.GraphModule:
    """These nodes as a network of their own, from `inputs` to `output`."""
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node in nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(fx.node.map_arg(output, copies.__getitem__))
    return fx.GraphModule(whole, graph)
