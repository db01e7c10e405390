"""How alike two greyscale images are: SSIM as first published, Gaussian windows of 1.5 pixels.

Wang, Bovik, Sheikh, Simoncelli: Image quality assessment, 2004. It runs in the anchors'
environment, because libvips has the filter on floats that Pillow has not:
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
likeness = ((mean_one * mean_other * 2 + C1) * (covariance * 2 + C2)) / (
    (mean_one * mean_one + mean_other * mean_other + C1) * (variance_one + variance_other + C2)
)
print(likeness.avg())
