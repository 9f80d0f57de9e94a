"""A frozen network with its batch normalisation folded into the convolutions: the same function in fewer passes.

In eval mode y = gamma (conv(x) - mean) / sqrt(var + eps) + beta is itself a convolution (Jacob et al. 2018,
arXiv:1712.05877, section 3.2). Which convolution stands before which normalisation is read off a trace of `forward`.
"""

import copy
from collections import Counter
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from backbones.resnet12 import ResNet12
from backbones.resnet18 import ResNet18, ResNet34
from backbones.resnet18_film import FilmResNet18
from backbones.resnet50 import ResNet50

OWN = (ResNet12, ResNet18, ResNet34, FilmResNet18, ResNet50)
NetworkT = TypeVar("NetworkT", bound=nn.Module)


def is_own(network: nn.Module) -> bool:
    """Whether its `forward` and `maps` are known to do what a trace shows: it is exactly of one of our classes, with no
    hook in it. What others write may branch, reach a layer in other ways, or change it on the way."""
    hooks = (hook for module in network.modules() for hook in (module._forward_hooks, module._forward_pre_hooks))
    return type(network) in OWN and not any(hooks)


def folded(network: NetworkT) -> NetworkT:
    """`network` (in eval mode) without the BatchNorm2d that follow a Conv2d directly; itself where there are none.

    The result is of the same class, with the same methods. It shares every tensor with `network` except the folded
    kernels, which are held twice: 45 MB for a ResNet-18 of full width in float32.
    """
    pairs = _pairs(network)
    if not pairs:
        return network
    shared = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
    result = copy.deepcopy(network, dict(shared))
    for conv_name, norm_name in pairs:
        conv, norm = result.get_submodule(conv_name), result.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        _fold(conv, norm)
        parent, _, name = norm_name.rpartition(".")
        setattr(result.get_submodule(parent), name, nn.Identity())
    return result


def _pairs(network: nn.Module) -> list[tuple[str, str]]:
    """Names of each convolution and the normalisation that alone reads it; none if the network cannot be traced."""
    try:
        nodes = list(torch.fx.symbolic_trace(network).graph.nodes)
    except Exception:  # whatever a user's network does in Python that a trace cannot follow
        return []
    called = {node: network.get_submodule(node.target) for node in nodes if node.op == "call_module"}
    calls = Counter(map(id, called.values()))
    pairs = []
    for node, norm in called.items():
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        before = node.all_input_nodes[0]
        conv = called.get(before)
        if type(conv) is nn.Conv2d and len(before.users) == calls[id(conv)] == calls[id(norm)] == 1:
            pairs.append((before.target, node.target))
    return pairs


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give `conv` a kernel and a bias of its own that do the work of both; computed in double precision."""
    like = conv.weight
    kernel, shift = fuse_conv_bn_weights(
        _double(like),
        None if conv.bias is None else _double(conv.bias),
        _double(norm.running_mean),
        _double(norm.running_var),
        norm.eps,
        None if norm.weight is None else _double(norm.weight),
        None if norm.bias is None else _double(norm.bias),
    )
    conv.weight = nn.Parameter(torch.empty_like(like).copy_(kernel), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(like), requires_grad=False)


def _double(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor.detach().double()
