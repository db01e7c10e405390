"""Build ONNX graphs of float32 arithmetic, with weights stored in half precision."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET = 13
_IR_VERSION = 8
# Smaller tensors stay in full precision: biases of few elements and constants.
_MIN_HALF_ELEMENTS = 65


class Graph:
    """A graph under construction. Every method adds nodes and returns the name of their output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._names = 0

    def constant(self, value: np.ndarray, *, exact: bool = False) -> str:
        """Add a constant. Large ones are stored in half precision unless they must be exact."""
        name = self._new_name()
        if exact or value.dtype != np.float32 or value.size < _MIN_HALF_ELEMENTS:
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
            return name
        half = np.ascontiguousarray(value.astype(np.float16))
        self._constants.append(numpy_helper.from_array(half, name))
        return self.add("Cast", [name], to=TensorProto.FLOAT)

    def add(self, operator: str, inputs: Sequence[str], *, output: str = "", **attributes) -> str:
        """Add a node with one output."""
        output = output or self._new_name()
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def add_input(self, pixels: str, scale: float, offset: float) -> str:
        """Turn pixels (n, height, width, 3) into scaled numbers (n, 3, height, width)."""
        numbers = self.add("Cast", [pixels], to=TensorProto.FLOAT)
        scaled = self.add("Mul", [numbers, self.constant(np.float32(scale))])
        shifted = self.add("Add", [scaled, self.constant(np.float32(offset))])
        return self.add("Transpose", [shifted], perm=[0, 3, 1, 2])

    def convolve(
        self,
        source: str,
        weights: np.ndarray,
        bias: np.ndarray,
        *,
        stride: int = 1,
        groups: int = 1,
        has_limit: bool = True,
    ) -> str:
        """Add a convolution, with the activation ReLU6 if it has a limit."""
        output = self.add(
            "Conv",
            [source, self.constant(weights), self.constant(bias)],
            strides=[stride, stride],
            group=groups,
            kernel_shape=list(weights.shape[2:]),
            auto_pad="SAME_UPPER",
        )
        return self.limit(output) if has_limit else output

    def limit(self, source: str) -> str:
        """Add the activation ReLU6."""
        zero, six = self.constant(np.float32(0)), self.constant(np.float32(6))
        return self.add("Clip", [source, zero, six])

    def save(
        self, path: Path, pixels_shape: Sequence[int | str], outputs: dict[str, Sequence[int | str]]
    ) -> None:
        """Check the graph and write it. Its input is `pixels`."""
        graph = helper.make_graph(
            self._nodes,
            path.stem,
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, pixels_shape)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in outputs.items()
            ],
            self._constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
        model.ir_version = _IR_VERSION
        model.producer_name = "tools.recogniser"
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))

    def _new_name(self) -> str:
        self._names += 1
        return f"v{self._names}"
