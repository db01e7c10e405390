"""Compare every list of image formats with `imaging/formats.py`."""

import re
from pathlib import Path

from imaging import formats

ROOT = Path(__file__).parents[2]
FILE_CHECK = "web_app/static/modules/file_check.js"
IMAGE_PAGE = "web_app/templates/image.html"

# Formats that most browsers cannot display, so that a page offers a download instead.
NOT_DISPLAYED = {formats.HEIC, formats.HEIF, formats.TIFF}


def read(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_sentence_names_every_accepted_format():
    sentence = formats.ACCEPTED_FORMATS_SENTENCE
    # HEIF is left out: users know it as HEIC.
    names = [each.name for each in formats.ACCEPTED_FORMATS if each is not formats.HEIF]

    missing = [name for name in names if name not in re.split(r", | or ", sentence)]

    assert missing == [], "add them to ACCEPTED_FORMATS_SENTENCE in imaging/formats.py"


def test_the_check_in_the_browser_names_the_formats_of_the_server():
    assert formats.ACCEPTED_FORMATS_SENTENCE in read(FILE_CHECK), f"edit FORMATS in {FILE_CHECK}"


def test_the_check_in_the_browser_knows_every_signature_with_a_constant():
    source = read(FILE_CHECK)
    brands = formats._AVIF_BRANDS | formats._HEIC_BRANDS | formats._HEIF_BRANDS

    missing = [brand for brand in sorted(brands) if not has_word(source, brand.decode())]
    missing += [size for size in formats._BMP_INFO_HEADER_SIZES if not has_word(source, str(size))]
    missing += [text for text in formats._TIFF_SIGNATURES if javascript(text) not in source]

    assert missing == [], f"add them to {FILE_CHECK}"


def has_word(source: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", source) is not None


def javascript(signature: bytes) -> str:
    return signature.decode("latin-1").replace("\0", "\\0")


def test_the_page_of_an_image_knows_for_every_format_whether_browsers_display_it():
    displayed = set(re.findall(r'"(image/[a-z+.-]+)"', read(IMAGE_PAGE)))
    expected = {each.content_type for each in set(formats.ACCEPTED_FORMATS) - NOT_DISPLAYED}

    message = f"edit {IMAGE_PAGE}, or NOT_DISPLAYED in this file"
    assert sorted(expected - displayed) == [], message
    assert sorted(displayed - expected) == [], message


def test_the_api_documentation_names_every_accepted_format():
    text = read("API_DOCUMENTATION.md")

    missing = [each.name for each in formats.ACCEPTED_FORMATS if not has_word(text, each.name)]

    assert missing == [], "add them to API_DOCUMENTATION.md, POST /upload"
