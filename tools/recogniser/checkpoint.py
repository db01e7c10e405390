"""Read a PyTorch checkpoint of the format before version 1.6, without PyTorch."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_ELEMENT_TYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}


class _Tensor(NamedTuple):
    """A view of a storage, in elements."""

    storage: tuple[str, str]
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]


class _TensorUnpickler(pickle.Unpickler):
    """Reads tensors and refuses every other class, because a pickle can run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, strides, *_: _Tensor(
                storage, offset, size, strides
            )
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _ELEMENT_TYPES:
            return name
        raise pickle.UnpicklingError(f"the checkpoint contains {module}.{name}")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _kind, element_type, key, *_rest = pid
        return element_type, key


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Return every tensor of a checkpoint by its name.

    Raises:
        pickle.UnpicklingError: the file contains anything but tensors.
    """
    with path.open("rb") as file:
        header = [_TensorUnpickler(file).load() for _ in range(3)]
        if header[:2] != [_MAGIC_NUMBER, _PROTOCOL_VERSION]:
            raise pickle.UnpicklingError("the file is not a checkpoint of the old format")
        tensors = _TensorUnpickler(file).load()
        keys = _TensorUnpickler(file).load()
        element_types = {key: kind for kind, key in (t.storage for t in tensors.values())}
        storages = {key: _read_storage(file, element_types[key]) for key in keys}
    return {name: _as_array(tensor, storages) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, element_type: str) -> np.ndarray:
    dtype = np.dtype(_ELEMENT_TYPES[element_type])
    (count,) = struct.unpack("<q", file.read(8))
    return np.frombuffer(file.read(count * dtype.itemsize), dtype)


def _as_array(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    storage = storages[tensor.storage[1]]
    # Some tensors of this checkpoint are stored transposed, so the strides matter.
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.size, strides)
    return np.ascontiguousarray(view)
