"""The names of the classes of both networks, and the words of captions for them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The classes of the detector by their number in COCO. https://cocodataset.org
DETECTOR_CLASSES: Final = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train",
    8: "truck", 9: "boat", 10: "traffic light", 11: "fire hydrant", 13: "stop sign",
    14: "parking meter", 15: "bench", 16: "bird", 17: "cat", 18: "dog", 19: "horse", 20: "sheep",
    21: "cow", 22: "elephant", 23: "bear", 24: "zebra", 25: "giraffe", 27: "backpack",
    28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee", 35: "skis",
    36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove",
    41: "skateboard", 42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass",
    47: "cup", 48: "fork", 49: "knife", 50: "spoon", 51: "bowl", 52: "banana", 53: "apple",
    54: "sandwich", 55: "orange", 56: "broccoli", 57: "carrot", 58: "hot dog", 59: "pizza",
    60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant", 65: "bed",
    67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote",
    76: "keyboard", 77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink",
    82: "refrigerator", 84: "book", 85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear",
    89: "hair drier", 90: "toothbrush",
}  # fmt: skip

ANIMALS: Final = frozenset(
    {"bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"}
)
# Objects that stand on a table, so that "on a table" says where they are.
TABLEWARE: Final = frozenset(
    {"cup", "bowl", "bottle", "wine glass", "pizza", "cake", "sandwich", "donut", "laptop", "vase",
     "fork", "knife", "spoon", "potted plant", "banana", "apple", "orange", "book"}
)  # fmt: skip
# Names of the detector that captions and tags replace.
SPOKEN_NAMES: Final = {"dining table": "table", "hair drier": "hair dryer"}
# The classifier's names for what the detector calls otherwise.
SUPPORTING_NAMES: Final = {
    "airplane": ("aircraft",), "cell phone": ("phone",), "wine glass": ("glass",),
    "tv": ("television", "monitor", "entertainment center", "home theater"),
    "laptop": ("computer",), "mouse": ("computer mouse",), "keyboard": ("computer keyboard",),
    "remote": ("remote control",), "potted plant": ("plant pot",),
    "toilet": ("toilet seat",), "oven": ("stove", "microwave oven"), "book": ("dust jacket",),
    "microwave": ("microwave oven",), "handbag": ("bag",), "tie": ("Windsor tie", "suit"),
    "suitcase": ("bag",), "apple": ("Granny Smith apple",), "sandwich": ("burger",),
    "cake": ("dessert",), "donut": ("bagel",), "sports ball": ("ball",), "skis": ("ski",),
    "stop sign": ("street sign",), "bench": ("park bench",), "hair drier": ("hair dryer",),
    "bowl": ("mixing bowl", "soup bowl"), "spoon": ("wooden spoon", "ladle"),
    "tennis racket": ("racket",), "chair": ("rocking chair", "desk"), "bear": ("polar bear",),
    "bed": ("quilt",), "truck": ("pickup truck",),
}  # fmt: skip
# The scenes and how a caption names them, the more special ones first.
SCENES: Final = {
    "beach": "a beach",
    "lakeshore": "a lakeshore",
    "shore": "a shore",
    "volcano": "a volcano",
    "cliff": "a cliff",
    "coral reef": "a coral reef",
    "mountain": "mountains",
    "landscape": "a natural landscape",
}
# Scenes that are a landscape if their classes are sure only together.
LANDSCAPES: Final = ("mountain", "shore")

_CLASSES_FILE: Final = Path(__file__).parent / "imagenet_classes.txt"
_PLURALS: Final = {
    "person": "people", "sheep": "sheep", "bus": "buses", "wine glass": "wine glasses",
    "knife": "knives", "couch": "couches", "bench": "benches", "sandwich": "sandwiches",
    "toothbrush": "toothbrushes", "broccoli": "broccoli", "fish": "fish", "mouse": "mice",
}  # fmt: skip
_PLURAL_NOUNS: Final = frozenset({"skis", "scissors", "sunglasses"})
_UNCOUNTABLE: Final = frozenset({"corn", "ice cream", "broccoli"})
_NUMBERS: Final = ("no", "one", "two", "three", "four")


@dataclass(frozen=True)
class ImageClass:
    """A class of the classifier.

    Attributes:
        tag: the name of the class.
        noun: what a caption may say if this class alone is sure; "" if it may only be a tag.
        group: the common noun of this class and similar ones; "" if there is none.
    """

    tag: str
    noun: str
    group: str


def _read_classes(path: Path) -> tuple[ImageClass, ...]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return tuple(ImageClass(*(cell.strip() for cell in line.split("|"))) for line in lines)


IMAGE_CLASSES: Final = _read_classes(_CLASSES_FILE)


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article, if it takes one."""
    if noun in _PLURAL_NOUNS or noun in _UNCOUNTABLE:
        return noun
    sounds_like_consonant = noun.startswith(("uni", "one", "eu", "us"))
    is_vowel = noun[0].lower() in "aeiou" and not sounds_like_consonant
    return f"{'an' if is_vowel else 'a'} {noun}"


def plural(noun: str) -> str:
    """Return the plural of a noun."""
    return noun if noun in _PLURAL_NOUNS else _PLURALS.get(noun, f"{noun}s")


def counted(noun: str, count: int) -> str:
    """Return a noun with a number in words, up to four; more are "several"."""
    if count == 1:
        return with_article(noun)
    number = _NUMBERS[count] if count < len(_NUMBERS) else "several"
    return f"{number} {plural(noun)}"
