"""Convolutions that add and rectify in the same pass, on CPUs: oneDNN's post-operations, as torch.compile uses them.

A ReLU, or an addition and a ReLU, behind a convolution costs a trip of the whole feature map through memory each.
"""

import operator
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

_RELUS = (relu, torch.relu)


def is_available() -> bool:
    """Whether this torch is built with oneDNN and has the operation, which is not a public one."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def fused(network: nn.Module, method: str) -> Callable[[Tensor], Tensor]:
    """`network.<method>` (a folded network on a CPU, in float32 or bfloat16) with those passes joined; the method
    itself where there is nothing to join or it cannot be traced."""
    plain: Callable[[Tensor], Tensor] = getattr(network, method)
    tracer = torch.fx.Tracer()
    tracer.traced_func_name = method
    try:
        graph = tracer.trace(network)
    except Exception:  # whatever a user's network does in Python that a trace cannot follow
        return plain
    modules = dict(network.named_modules())
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(modules[node.target], nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    joined = [_join(node, graph, modules) for node in list(graph.nodes) if _is_relu(node, modules)]
    if not any(joined):
        return plain
    return torch.fx.GraphModule(network, graph)


def _join(node: torch.fx.Node, graph: torch.fx.Graph, modules: dict[str, nn.Module]) -> bool:
    """Replace a ReLU, and what it alone reads, by one call."""
    before = node.args[0]
    assert isinstance(before, torch.fx.Node)
    other: torch.fx.Node | None = None
    if before.op == "call_function" and before.target in (operator.add, operator.iadd) and len(before.users) == 1:
        sides = [side for side in before.args if isinstance(side, torch.fx.Node)]
        changed = sides[:1] if before.target is operator.iadd else sides  # += must not change what others read
        conv = next((side for side in changed if _is_lone_conv(side, modules)), None)
        if conv is None or len(sides) != 2 or sides[0] is sides[1]:
            return False
        other = sides[1 - sides.index(conv)]
    elif _is_lone_conv(before, modules):
        conv = before
    else:
        return False
    with graph.inserting_before(node):
        module = _parameters(modules[str(conv.target)])
        weight, bias = (graph.get_attr(f"{conv.target}.{name}") for name in ("weight", "bias"))
        call = graph.call_function(_convolve, (conv.args[0], other, weight, bias, *module))
    node.replace_all_uses_with(call)
    for dead in dict.fromkeys((node, before, conv)):
        graph.erase_node(dead)
    return True


def _convolve(
    x: Tensor,
    other: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    padding: list[int],
    stride: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    """relu(conv(x)) or relu(conv(x) + other)."""
    geometry = (padding, stride, dilation, groups)
    sides = zip(x.shape[2:], padding, dilation, weight.shape[2:], stride, strict=True)
    shape = (len(x), len(weight), *((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, p, d, k, s in sides))
    if other is not None and other.shape != shape:
        return relu(conv2d(x, weight, bias, stride, padding, dilation, groups) + other)
    op = torch.ops.mkldnn._convolution_pointwise
    if other is None:
        return op(x, weight, bias, *geometry, "relu", [], "")
    return op.binary(x, other, weight, bias, *geometry, "add", 1.0, "relu", [], "")


def _parameters(conv: nn.Module) -> tuple[list[int], list[int], list[int], int]:
    assert isinstance(conv, nn.Conv2d)
    assert not isinstance(conv.padding, str)
    return list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups


def _is_relu(node: torch.fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], nn.ReLU)
    return node.op == "call_function" and node.target in _RELUS


def _is_lone_conv(node: torch.fx.Node, modules: dict[str, nn.Module]) -> bool:
    """A convolution that only one other operation reads; with zero padding, which oneDNN does itself, and a bias."""
    conv = modules.get(str(node.target)) if node.op == "call_module" else None
    if type(conv) is not nn.Conv2d or len(node.users) != 1:
        return False
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and conv.bias is not None
