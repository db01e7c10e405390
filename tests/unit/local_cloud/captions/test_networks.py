import shutil

import pytest
from PIL import Image

from tests.unit.local_cloud.captions.conftest import ROOT

SAMPLES = ROOT / "web_app" / "static" / "samples"


def best(findings):
    return max(range(1000), key=findings.probabilities.__getitem__)


def test_the_networks_find_a_cat(networks):
    findings = networks.find(Image.open(SAMPLES / "cat.jpg").convert("RGB"))

    assert findings.detections[0].name == "cat"
    assert 281 <= best(findings) <= 285  # The domestic cats of ImageNet.
    assert sum(findings.probabilities) == pytest.approx(1, abs=0.01)


def test_the_box_of_an_object_is_where_it_is(networks):
    image = Image.open(SAMPLES / "coffee.jpg").convert("RGB")
    wide = Image.new("RGB", (2 * image.width, image.height), (128, 128, 128))
    wide.paste(image, (image.width, 0))

    cup = next(each for each in networks.find(wide).detections if each.name == "cup")

    assert cup.box.left > 0.5


def test_a_damaged_or_missing_model_file_is_refused(networks, tmp_path):
    from local_cloud.captions.networks import MODELS, SHA256, ModelFileError, Networks

    with pytest.raises(ModelFileError, match="cannot be read"):
        Networks(tmp_path)
    for name in SHA256:
        shutil.copy(MODELS / name, tmp_path)
    damaged = bytearray((tmp_path / name).read_bytes())
    damaged[1000] ^= 1
    (tmp_path / name).write_bytes(damaged)
    with pytest.raises(ModelFileError, match=f"{name} differs"):
        Networks(tmp_path)


def test_the_readme_names_the_hash_of_each_file(networks):
    from local_cloud.captions.networks import MODELS, SHA256

    readme = (MODELS / "README.md").read_text()

    assert all(name in readme and expected in readme for name, expected in SHA256.items())
