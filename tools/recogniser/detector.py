"""Convert SSDLite-MobileNetV2 from a graph of TensorFlow.js.

https://arxiv.org/abs/1801.04381
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from tools.recogniser.graph import Graph

_SIDE = 300
_ANCHORS = 1917
_CLASSES = 91
_PIXELS = "Preprocessor/sub"
_BOXES = "concat"
_SCORES = "Postprocessor/convert_scores"
_ANCHOR_BOXES = "Postprocessor/ExpandDims"
# The network predicts positions in tenths and sizes in fifths of an anchor box.
_POSITION_SCALE, _SIZE_SCALE = 0.1, 0.2


def convert_detector(folder: Path, target: Path) -> None:
    """Write the detector: pixels (1, 300, 300, 3) to boxes (1917, 4) and scores (1917, 91).

    A box is top, left, bottom and right, as shares of the image.
    """
    converter = _Converter(folder)
    graph = converter.graph
    predicted = graph.add("Reshape", [converter.convert(_BOXES), _shape(graph, _ANCHORS, 4)])
    _add_boxes(graph, predicted, converter.weights[_ANCHOR_BOXES].reshape(_ANCHORS, 4))
    graph.add(
        "Reshape",
        [converter.convert(_SCORES), _shape(graph, _ANCHORS, _CLASSES)],
        output="scores",
    )
    graph.save(
        target,
        [1, _SIDE, _SIDE, 3],
        {"boxes": [_ANCHORS, 4], "scores": [_ANCHORS, _CLASSES]},
    )


def _shape(graph: Graph, *shape: int) -> str:
    return graph.constant(np.array(shape, np.int64))


def _add_boxes(graph: Graph, predicted: str, anchors: np.ndarray) -> None:
    """Add the corners of the predicted boxes, from offsets to the anchors' centres and sizes."""
    sizes = anchors[:, 2:] - anchors[:, :2]
    centres = anchors[:, :2] + sizes / 2
    offsets = graph.add("Slice", [predicted, *(_shape(graph, i) for i in (0, 2, 1))])
    growths = graph.add("Slice", [predicted, *(_shape(graph, i) for i in (2, 4, 1))])
    position_scales = graph.constant(sizes * np.float32(_POSITION_SCALE), exact=True)
    moved = graph.add("Mul", [offsets, position_scales])
    centre = graph.add("Add", [moved, graph.constant(centres, exact=True)])
    factor = graph.add(
        "Exp", [graph.add("Mul", [growths, graph.constant(np.float32(_SIZE_SCALE))])]
    )
    half = graph.add("Mul", [factor, graph.constant(sizes / 2, exact=True)])
    corners = [graph.add("Sub", [centre, half]), graph.add("Add", [centre, half])]
    unclipped = graph.add("Concat", corners, axis=1)
    zero, one = graph.constant(np.float32(0)), graph.constant(np.float32(1))
    graph.add("Clip", [unclipped, zero, one], output="boxes")


class _Converter:
    """Translates nodes of TensorFlow, from an output back to the pixels."""

    def __init__(self, folder: Path) -> None:
        model = json.loads((folder / "model.json").read_text())
        self.weights = _read_weights(folder, model["weightsManifest"])
        self.graph = Graph()
        self._nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
        self._converted = {_PIXELS: self.graph.add_input("pixels", scale=2 / 255, offset=-1)}

    def convert(self, name: str) -> str:
        """Return the name of the value in the new graph.

        Raises:
            ValueError: the operator is not known.
        """
        name = name.partition(":")[0]
        if name not in self._converted:
            self._converted[name] = self._convert_node(self._nodes[name])
        return self._converted[name]

    def _convert_node(self, node: dict[str, Any]) -> str:
        operator, inputs = node["op"], node.get("input", [])
        match operator:
            case "Conv2D" | "DepthwiseConv2dNative":
                return self._convert_convolution(node)
            case "Add" | "AddN" | "BiasAdd" | "Mul" if len(inputs) == 2:
                operands = [self._operand(each) for each in inputs]
                return self.graph.add("Mul" if operator == "Mul" else "Add", operands)
            case "FusedBatchNorm":
                epsilon = float(node["attr"].get("epsilon", {}).get("f", 1e-3))
                parameters = [self.graph.constant(self._weights(each)) for each in inputs[1:5]]
                source = self.convert(inputs[0])
                return self.graph.add("BatchNormalization", [source, *parameters], epsilon=epsilon)
            case "Relu6":
                return self.graph.limit(self.convert(inputs[0]))
            case "Sigmoid":
                return self.graph.add("Sigmoid", [self.convert(inputs[0])])
            case "Reshape":
                # The predictions of one layer. TensorFlow stores the channels last.
                last = 4 if node["name"].endswith("Reshape") else _CLASSES
                channels_last = self.graph.add(
                    "Transpose", [self.convert(inputs[0])], perm=[0, 2, 3, 1]
                )
                shape = _shape(self.graph, 1, -1, last)
                return self.graph.add("Reshape", [channels_last, shape])
            case "ConcatV2":
                parts = [self.convert(each) for each in inputs[:-1]]
                return self.graph.add("Concat", parts, axis=1)
        raise ValueError(f"the operator {operator} of {node['name']} is not known")

    def _convert_convolution(self, node: dict[str, Any]) -> str:
        source, kernel_name = node["input"]
        kernel = self._weights(kernel_name)
        groups = 1
        if node["op"] == "Conv2D":
            kernel = kernel.transpose(3, 2, 0, 1)
        else:
            height, width, groups, factor = kernel.shape
            kernel = kernel.transpose(2, 3, 0, 1).reshape(groups * factor, 1, height, width)
        padding = _text(node["attr"]["padding"]["s"])
        return self.graph.add(
            "Conv",
            [self.convert(source), self.graph.constant(kernel)],
            strides=[int(s) for s in node["attr"]["strides"]["list"]["i"]][1:3],
            group=groups,
            kernel_shape=list(kernel.shape[2:]),
            auto_pad="SAME_UPPER" if padding == "SAME" else "VALID",
        )

    def _operand(self, name: str) -> str:
        if self._nodes[name.partition(":")[0]]["op"] != "Const":
            return self.convert(name)
        value = self._weights(name)
        return self.graph.constant(value.reshape(1, -1, 1, 1) if value.ndim == 1 else value)

    def _weights(self, name: str) -> np.ndarray:
        return self.weights[name.partition(":")[0]]


def _text(value: str | list[int]) -> str:
    """Return a string attribute, which TensorFlow.js writes as base64 or as a list of bytes."""
    return (bytes(value) if isinstance(value, list) else base64.b64decode(value)).decode()


def _read_weights(folder: Path, manifest: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    weights = {}
    for group in manifest:
        data = b"".join((folder / path).read_bytes() for path in group["paths"])
        offset = 0
        for entry in group["weights"]:
            stored = np.dtype(entry.get("quantization", {}).get("dtype", entry["dtype"]))
            count = int(np.prod(entry["shape"]))
            array = np.frombuffer(data, stored, count, offset).reshape(entry["shape"])
            offset += array.nbytes
            weights[entry["name"]] = array.astype(np.dtype(entry["dtype"]))
    return weights
