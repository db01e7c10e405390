"""Convert EfficientNet-Lite2.

https://arxiv.org/abs/1905.11946
"""

import math
from pathlib import Path

import numpy as np

from tools.recogniser.checkpoint import read_checkpoint
from tools.recogniser.graph import Graph

_SIDE = 260
_DEPTH_FACTOR = 1.2
_EPSILON = 1e-3
# Repetitions and first stride of each stage of the base network. The first and the last stage of
# the Lite variants have a fixed depth.
_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
_FIXED_STAGES = (0, len(_STAGES) - 1)


def convert_classifier(checkpoint: Path, target: Path) -> None:
    """Write the classifier: pixels (n, 260, 260, 3) to probabilities (n, 1000)."""
    weights = read_checkpoint(checkpoint)
    graph = Graph()
    x = graph.add_input("pixels", scale=1 / 128, offset=-127 / 128)
    x = graph.convolve(x, *_folded(weights, "_conv_stem", "_bn0"), stride=2)
    for i, stride in enumerate(_block_strides()):
        x = _add_block(graph, x, weights, f"_blocks.{i}.", stride)
    x = graph.convolve(x, *_folded(weights, "_conv_head", "_bn1"))
    x = graph.add("Flatten", [graph.add("GlobalAveragePool", [x])])
    parameters = [graph.constant(weights[f"_fc.{part}"]) for part in ("weight", "bias")]
    scores = graph.add("Gemm", [x, *parameters], transB=1)
    graph.add("Softmax", [scores], output="probabilities", axis=1)
    graph.save(target, ["n", _SIDE, _SIDE, 3], {"probabilities": ["n", 1000]})


def _block_strides() -> list[int]:
    strides = []
    for stage, (repetitions, stride) in enumerate(_STAGES):
        if stage not in _FIXED_STAGES:
            repetitions = math.ceil(repetitions * _DEPTH_FACTOR)
        strides += [stride] + [1] * (repetitions - 1)
    return strides


def _add_block(
    graph: Graph, source: str, weights: dict[str, np.ndarray], prefix: str, stride: int
) -> str:
    """Add an inverted residual block: expand, filter each channel, project."""
    x = source
    if f"{prefix}_expand_conv.weight" in weights:
        x = graph.convolve(x, *_folded(weights, f"{prefix}_expand_conv", f"{prefix}_bn0"))
    kernel, bias = _folded(weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1")
    x = graph.convolve(x, kernel, bias, stride=stride, groups=kernel.shape[0])
    kernel, bias = _folded(weights, f"{prefix}_project_conv", f"{prefix}_bn2")
    x = graph.convolve(x, kernel, bias, has_limit=False)
    has_equal_shape = stride == 1 and kernel.shape[0] == _input_channels(weights, prefix)
    return graph.add("Add", [source, x]) if has_equal_shape else x


def _input_channels(weights: dict[str, np.ndarray], prefix: str) -> int:
    expansion = weights.get(f"{prefix}_expand_conv.weight")
    if expansion is not None:
        return int(expansion.shape[1])
    return int(weights[f"{prefix}_depthwise_conv.weight"].shape[0])


def _folded(
    weights: dict[str, np.ndarray], convolution: str, norm: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of a convolution together with the batch norm after it."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
    kernel = weights[f"{convolution}.weight"] * scale[:, None, None, None]
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return kernel.astype(np.float32), bias.astype(np.float32)
