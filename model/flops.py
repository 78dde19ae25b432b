"""Parameters and FLOP of a model by its parts, counted on the meta device: no weights, no GPU.

A batch runs through the model under torch's FlopCounterMode: forward as a whole, then backward part by part, along the
very graph that training walks. So nothing is counted for what is frozen, nor a gradient into frozen towers. 1
multiply-add = 2 FLOP. Norms, activations, softmax, the optimizer and the recomputation of checkpointed activations are
not counted.

Two things are put right. The counter takes attention as a square of matrix products: Qwen2's, which is causal, counts
half. And its formula of a convolution's backward forgets groups, which makes the gradient of a depthwise weight 3584
times too dear: here the gradients of input and weight cost what the forward costs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from model.batch import Batch
from model.config import ModelConfig
from model.ufvideo import UFVideo

META: Final = torch.device("meta")
SAM2: Final = "segmentation.sam2"
Rows = dict[str, tuple[str | None, tuple[str, ...]]]
"""Row → the part of PARTS to which it belongs, and its modules. A module within another one of these counts alone."""

ROWS: Final[Rows] = {
    "vision tower": ("vision", ("vision",)),
    "connector s1": ("connector", ("connector.s1",)),
    "connector sampler": ("connector", ("connector.sampler",)),
    "connector s2": ("connector", ("connector.s2",)),
    "connector readout": ("connector", ("connector.readout",)),
    "region encoder": ("regions", ("regions",)),
    "language layers": ("language", ("language.model",)),
    "embeddings and head": ("language", ("language.model.embed_tokens", "language.lm_head")),
    "prompt MLP": ("prompt", ("segmentation.project",)),
    "SAM2 image encoder": ("mask_encoder", (f"{SAM2}.image_encoder",)),
    "mask decoder": ("mask_decoder", tuple(f"{SAM2}.sam_mask_decoder{m}" for m in ("", ".conv_s0", ".conv_s1"))),
    "rest": (None, ()),
}
MEMORY: Final[Rows] = {
    "SAM2 memory": (
        "memory",
        tuple(f"{SAM2}.{name}" for name in ("memory_attention", "memory_encoder", "obj_ptr_proj", "obj_ptr_tpos_proj")),
    ),
}
"""Of a model with memory, besides ROWS; its few vectors are in the rest."""
AGAIN: Final = ("SAM2 memory", "mask decoder")
"""With memory these run once a frame, on what they made of the frame before: a gradient of one frame goes through all
before it, so only their backward passes together can be counted."""
CAUSAL: Final = "language layers"

Flops = dict[Any, int]
"""By operation of torch."""


def rows_of(config: ModelConfig) -> Rows:
    """The rows that a model of this description has."""
    return MEMORY | ROWS if config.memory else ROWS


def parameters_by_row(model: UFVideo) -> dict[str, int]:
    """The number of parameters of every row."""
    rows = rows_of(model.config)
    sizes = dict.fromkeys(rows, 0)
    row_of = {module: row for row, module in _modules(rows)}
    for name, parameter in model.named_parameters():
        sizes[row_of.get(_module_of(name, row_of), "rest")] += parameter.numel()
    return sizes


def _modules(rows: Rows) -> Iterator[tuple[str, str]]:
    for row, (_, modules) in rows.items():
        for module in modules:
            yield row, module


def _module_of(name: str, modules: Iterable[str]) -> str:
    """The innermost of the rows' modules in which a parameter lies; empty where it lies in none."""
    return max((module for module in modules if name.startswith(f"{module}.")), key=len, default="")


@dataclass(slots=True)
class _Call:
    """One call of a row's module: what went in and came out, the weights that are its own, and its forward FLOP."""

    row: str
    module: nn.Module
    inputs: list[Tensor]
    weights: list[nn.Parameter]
    before: Flops
    outputs: list[Tensor] = field(default_factory=list)
    flops: Flops = field(default_factory=dict)


def count(model: UFVideo, batch: Batch) -> tuple[dict[str, int], dict[str, int]]:
    """FLOP of every row, forward and backward, for a batch on the meta device."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: conv_backward}) as counter:
        calls = _watch(model, counter)
        with META:
            output = model(batch)
        rows = rows_of(model.config)
        forward = _by_row(rows, ((call.row, call.flops) for call in calls), _now(counter))
        ends = [tensor for tensor in (output.logits_CW, output.mask_logits_MZZ) if tensor.requires_grad]
        reached, whole = _whole_backward(model, ends, calls, counter)
        once = [call for call in calls if not (model.config.memory and call.row in AGAIN)]
        backward = _by_row(rows, ((call.row, _backward(call, reached, counter)) for call in once), whole)
    return forward, _shared(backward, forward) if model.config.memory else backward


def _shared(backward: dict[str, int], forward: dict[str, int]) -> dict[str, int]:
    """What no other row accounts for, dealt to the rows of AGAIN as their forward is."""
    left, of = backward["rest"], sum(forward[row] for row in AGAIN)
    shares = {row: left * forward[row] // of if of else 0 for row in AGAIN}
    return backward | shares | {"rest": left - sum(shares.values())}


def _watch(model: UFVideo, counter: FlopCounterMode) -> list[_Call]:
    """The calls that the model is about to make of the rows' modules; filled while it runs."""
    calls: list[_Call] = []
    weights: dict[str, list[nn.Parameter]] = defaultdict(list)
    modules = [module for _, module in _modules(rows_of(model.config))]
    for name, parameter in model.named_parameters():
        weights[_module_of(name, modules)].append(parameter)

    def enter(name: str, row: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        calls.append(_Call(row, module, _tensors((args, kwargs)), weights[name], _now(counter)))

    def leave(module: nn.Module, out: Any) -> None:
        call = next(call for call in reversed(calls) if call.module is module)
        call.outputs = _tensors(out)
        call.flops = _less(_now(counter), call.before)

    for row, name in _modules(rows_of(model.config)):
        module = model.get_submodule(name)
        module.register_forward_pre_hook(
            lambda module, args, kwargs, name=name, row=row: enter(name, row, module, args, kwargs), with_kwargs=True
        )
        module.register_forward_hook(lambda module, _args, out: leave(module, out))
    return calls


def _whole_backward(
    model: UFVideo, ends: list[Tensor], calls: list[_Call], counter: FlopCounterMode
) -> tuple[set[int], Flops]:
    """The ids of the calls' outputs that get a gradient, and the FLOP of the whole backward pass."""
    outputs = [out for call in calls for out in call.outputs if out.requires_grad]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = _now(counter)
    found = _gradients(ends, [*outputs, *trained])
    reached = {id(out) for out, gradient in zip(outputs, found, strict=False) if gradient is not None}
    return reached, _less(_now(counter), before)


def _backward(call: _Call, reached: set[int], counter: FlopCounterMode) -> Flops:
    """From a call's outputs to its inputs and weights, as far as they take gradients."""
    before = _now(counter)
    _gradients(
        [out for out in call.outputs if id(out) in reached],
        [tensor for tensor in (*call.inputs, *call.weights) if tensor.requires_grad],
    )
    return _less(_now(counter), before)


def _gradients(outputs: list[Tensor], inputs: list[Tensor]) -> tuple[Tensor | None, ...]:
    if not outputs or not inputs:
        return (None,) * len(inputs)
    ones = [torch.empty_like(out) for out in outputs]
    return torch.autograd.grad(outputs, inputs, ones, retain_graph=True, allow_unused=True)


def _by_row(names: Iterable[str], parts: Iterable[tuple[str, Flops]], whole: Flops) -> dict[str, int]:
    """FLOP of every row; what no part accounts for is the rest."""
    rows: dict[str, int] = dict.fromkeys(names, 0)
    rest = sum(whole.values())
    for row, flops in parts:
        rest -= sum(flops.values())
        causal = flops.get(torch.ops.aten.bmm, 0) // 2 if row == CAUSAL else 0
        rows[row] += sum(flops.values()) - causal
    rows["rest"] += rest
    return rows


def _now(counter: FlopCounterMode) -> Flops:
    return dict(counter.flop_counts["Global"])


def _less(now: Flops, before: Flops) -> Flops:
    counts = defaultdict(int, before)
    return {name: flops - counts[name] for name, flops in now.items()}


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def conv_backward(
    grad_shape: list[int],
    x_shape: list[int],
    w_shape: list[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    output_mask: tuple[bool, bool, bool],
    out_shape: Any = None,
) -> int:
    """Each of the gradients of input and weight multiplies what the forward multiplies, whatever the groups."""
    once = conv_flop_count(x_shape, w_shape, grad_shape, transposed=transposed)
    return once * (output_mask[0] + output_mask[1])
