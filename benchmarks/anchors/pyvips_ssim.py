"""Compute the similarity of two greyscale images: SSIM with Gaussian windows of 1.5 pixels.

Wang, Bovik, Sheikh, Simoncelli: Image quality assessment, 2004. This runs in the environment of the
anchors, because libvips can filter floats and Pillow cannot:
python -m benchmarks.anchors.pyvips_ssim ONE OTHER
"""

import sys

import pyvips

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

one, other = (pyvips.Image.new_from_file(path).cast("float") for path in sys.argv[1:])


def mean(image):
    return image.gaussblur(1.5, min_ampl=0.001, precision="float")


mean_one, mean_other = mean(one), mean(other)
variance_one = mean(one * one) - mean_one * mean_one
variance_other = mean(other * other) - mean_other * mean_other
covariance = mean(one * other) - mean_one * mean_other
similarity = ((mean_one * mean_other * 2 + C1) * (covariance * 2 + C2)) / (
    (mean_one * mean_one + mean_other * mean_other + C1) * (variance_one + variance_other + C2)
)
print(similarity.avg())
