"""A frozen network with small adapters at its 3x3 convolutions: what TSA and its family train.

The network is never touched. Adapters live in a copy of its module tree over the same weights. If torch.fx can trace
the network, the copy is cheaper to run than the original and gives the same numbers:

- batch normalisation in eval mode is a scale and a shift per channel, taken into the convolution before it;
- a convolution and its residual adapter are one convolution whose kernel has the adapter added in its middle, and
  only the middle's gradient is computed;
- what no adapter reaches (the stem; with adapters in later stages all stages before) is computed once per task.

A network that cannot be traced (its control flow depends on values) is run as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from adapters._split_network import Begun, SplitNetwork, network_of, working_copy
from backbones.contract import Backbone

Kind = Literal["residual", "serial"]
Form = Literal["matrix", "vector"]
Init = Literal["eye", "random"]
Precision = Literal["auto", "bf16"]

RESIDUAL_EYE = 1e-4  # residual adapters start at this multiple of the identity
RANDOM_STD = 1e-3
NARROW = 8  # pixels; on CPUs float32 convolutions of smaller maps are faster with channels first


def convolutions(backbone: Backbone | nn.Module, stages: str = "1234") -> list[str]:
    """Names of the 3x3 convolutions in the stages `layer<digit>` with these digits, in the network's order.

    Of a network that has no stages of such names, "1234" means all of it. Raises ValueError if there are none.
    """
    modules = dict(network_of(backbone).named_modules())
    found = [name for name, module in modules.items() if _adaptable(module)]
    if stages != "1234" or any(re.search(r"(^|\.)layer\d(\.|$)", name) for name in modules):
        found = [name for name in found if re.search(rf"(^|\.)layer[{stages}]\.", name)]
    if not found:
        raise ValueError(f"the backbone has no 3x3 convolutions in layer{' or layer'.join(stages)} to adapt")
    return found


class AdaptedNetwork(SplitNetwork):
    """A network with fresh adapters at the convolutions `names`.

    `parameters`: the adapters by name, `<convolution>.alpha` and, if serial, `<convolution>.alpha_bias`, in the shapes
    of the published checkpoints. Training changes them in place. `rng` is used by init="random" alone; None is seed 0.
    With precision="bf16" the network computes in bfloat16; its output, the adapters and their updates are in `dtype`.
    """

    def __init__(
        self,
        backbone: Backbone | nn.Module,
        names: Sequence[str],
        *,
        kind: Kind = "residual",
        form: Form = "matrix",
        init: Init = "eye",
        precision: Precision = "auto",
        rng: torch.Generator | None = None,
    ) -> None:
        rng = rng or torch.Generator().manual_seed(0)
        whole = working_copy(network_of(backbone))
        found = {name: cast(nn.Conv2d, whole.get_submodule(name)) for name in names}
        adapted = {name: AdaptedConvolution(conv, kind, form, init, rng) for name, conv in found.items()}
        for name, convolution in adapted.items():
            whole.set_submodule(name, convolution)
        if isinstance(whole, fx.GraphModule):
            _fold_normalisations(whole)
        super().__init__(whole, names)
        self._arithmetic = torch.bfloat16 if precision == "bf16" else self.dtype
        _set_arithmetic(whole, self._arithmetic)
        self.parameters = {
            f"{name}.{key}": value for name, own in adapted.items() for key, value in own.adapter.items()
        }

    def finish(self, begun: Begun) -> Tensor:
        return super().finish(begun).to(self.dtype)

    def __call__(self, images: Tensor) -> Tensor:
        return super().__call__(images).to(self.dtype)

    def _prepared(self, images: Tensor) -> Tensor:
        return super()._prepared(images).to(self._arithmetic)


class AdaptedConvolution(nn.Module):
    """A frozen convolution W with its adapter A, and the scale s and shift t per channel of what follows, if any.

    residual: s (W * x + A x) + t, where A is a 1x1 convolution of the same stride (matrix) or a factor per channel
    (vector; a matrix where the numbers of channels differ). serial: s (A (W * x) + b) + t.
    """

    def __init__(self, convolution: nn.Conv2d, kind: Kind, form: Form, init: Init, rng: torch.Generator) -> None:
        super().__init__()
        self.residual = kind == "residual"
        self.geometry: tuple[Any, ...] = convolution.stride, convolution.padding, convolution.dilation
        self.weight = convolution.weight.detach()
        c_out, c_in = self.weight.shape[:2]
        self.bias = self.weight.new_zeros(c_out) if convolution.bias is None else convolution.bias.detach()
        like: dict[str, Any] = {"dtype": self.weight.dtype, "device": self.weight.device}
        if form == "matrix" or (self.residual and c_in != c_out):
            alpha = torch.eye(c_out, c_in if self.residual else c_out, **like)[:, :, None, None]
        else:
            alpha = torch.ones(1, c_out, 1, 1, **like)
        adapter = {"alpha": alpha * RESIDUAL_EYE if self.residual else alpha}
        if not self.residual:
            adapter["alpha_bias"] = torch.zeros(1, c_out, 1, 1, **like)
        if init == "random":
            adapter = {key: _normal(value, rng) for key, value in adapter.items()}
        self.adapter = nn.ParameterDict(adapter)
        self.scale, self.shift = torch.ones(c_out, **like), torch.zeros(c_out, **like)

    def absorb(self, norm: nn.BatchNorm2d) -> None:
        """Take in the normalisation (eval mode) that follows."""
        assert norm.running_mean is not None and norm.running_var is not None
        self.scale = (norm.running_var + norm.eps).rsqrt()
        if norm.weight is not None:
            self.scale = self.scale * norm.weight.detach()
        self.shift = -norm.running_mean * self.scale
        if norm.bias is not None:
            self.shift = self.shift + norm.bias.detach()
        if self.residual:
            self.weight = self.weight * self.scale[:, None, None, None]
            self.bias = self.bias * self.scale + self.shift

    def set_arithmetic(self, dtype: torch.dtype) -> None:
        """Convolve in this precision; after `absorb`. The middle of the kernel, where the adapter is added, stays."""
        self.middle = self.weight[:, :, 1:2, 1:2].clone()
        self.weight, self.bias = self.weight.to(dtype), self.bias.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self._residual(x) if self.residual else self._serial(x)

    def _residual(self, x: Tensor) -> Tensor:
        alpha = self.adapter["alpha"]
        if alpha.shape[0] != len(self.scale):
            alpha = alpha.flatten().diag()[:, :, None, None]
        middle = self.middle + self.scale[:, None, None, None] * alpha
        return _WithMiddle.apply(x, self.weight, middle, self.bias, self.geometry)

    def _serial(self, x: Tensor) -> Tensor:
        alpha, alpha_bias = self.adapter["alpha"], self.adapter["alpha_bias"].flatten()
        x = conv2d(x, self.weight, self.bias, *self.geometry)
        shift = self.scale * alpha_bias + self.shift
        if alpha.shape[0] == len(self.scale):
            return conv2d(x, (self.scale[:, None, None, None] * alpha).to(x.dtype), shift.to(x.dtype))
        return torch.addcmul(shift[:, None, None], x, self.scale[:, None, None] * alpha).to(x.dtype)


class _WithMiddle(torch.autograd.Function):
    """conv2d with `middle` (c_out, c_in, 1, 1) as the middle of the kernel; gradients of x and middle alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, middle: Tensor, bias: Tensor, geometry: tuple) -> Tensor:
        ctx.geometry = geometry
        channels_last = x.dtype == torch.bfloat16 or (x.dtype == torch.float32 and x.shape[3] >= NARROW)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        x, kernel = x.contiguous(memory_format=layout), kernel.clone(memory_format=layout)
        kernel[:, :, 1:2, 1:2] = middle
        ctx.save_for_backward(x, kernel)
        return conv2d(x, kernel, bias, *geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel = ctx.saved_tensors
        (row_step, column_step), padding, dilation = ctx.geometry
        of_x = of_middle = None
        if ctx.needs_input_grad[0]:
            fixed: Any = None, ctx.geometry[0], padding, dilation, False, (0, 0), 1
            of_x, *_ = torch.ops.aten.convolution_backward(gradient, x, kernel, *fixed, (True, False, False))
        if ctx.needs_input_grad[2]:
            seen = x[:, :, ::row_step, ::column_step]  # by the middle
            of_middle = (_pixels(gradient).t() @ _pixels(seen))[:, :, None, None]
        return of_x, None, of_middle, None, None


def _pixels(maps: Tensor) -> Tensor:
    """(n, c, h, w) -> (n h w, c)."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def _set_arithmetic(whole: nn.Module, dtype: torch.dtype) -> None:
    """Let the network compute in this precision, but for its adapters, which stay as they are."""
    adapters = [module for module in whole.modules() if isinstance(module, AdaptedConvolution)]
    theirs = {id(value) for own in adapters for value in own.parameters()}
    for own in adapters:
        own.set_arithmetic(dtype)
    for value in [*whole.parameters(), *whole.buffers()]:
        if value.is_floating_point() and id(value) not in theirs:
            value.data = value.data.to(dtype)


def _adaptable(module: nn.Module) -> bool:
    """Whether a 1x1 convolution of the same stride reads exactly what the middle of this one's kernel reads."""
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (3, 3)
        and module.padding == module.dilation
        and module.padding_mode == "zeros"
        and module.groups == 1
    )


def _normal(like: Tensor, rng: torch.Generator) -> Tensor:
    """Drawn in float32, so that every precision starts at the same values."""
    return (torch.randn(like.shape, generator=rng, device=rng.device) * RANDOM_STD).to(like)


def _fold_normalisations(network: fx.GraphModule) -> None:
    """Let each convolution take in the normalisation that alone reads it."""
    modules = dict(network.named_modules())
    calls = [node for node in network.graph.nodes if node.op == "call_module"]
    uses = Counter(node.target for node in calls)
    for node in calls:
        norm = modules[node.target]
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        [source] = node.all_input_nodes
        if source.op != "call_module" or max(uses[node.target], uses[source.target], len(source.users)) > 1:
            continue
        convolution = modules[source.target]
        if isinstance(convolution, AdaptedConvolution):
            convolution.absorb(norm)
        elif isinstance(convolution, nn.Conv2d):
            network.set_submodule(source.target, fuse_conv_bn_eval(convolution, norm))
        else:
            continue
        network.set_submodule(node.target, nn.Identity())
