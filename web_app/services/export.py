"""Write what is written about images as text for other programs, piece by piece.

Each function takes the images one after the other and yields text, so an export of a hundred
thousand images needs no more memory than one of a hundred.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any

from database.export import ExportedImage
from database.languages import UNKNOWN
from database.models import Image
from web_app.services.file_names import file_name
from web_app.services.timestamps import timestamp

# A spreadsheet program takes a cell that begins like this for a formula.
# https://owasp.org/www-community/attacks/CSV_Injection
# A text that itself begins like a marked formula gets a second quote, so that an import can restore
# it.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
# Spreadsheet programs take a file with this mark for UTF-8.
_BYTE_ORDER_MARK = "\ufeff"
_LINES_PER_PIECE = 500

PageURL = Callable[[int], str]
Images = Callable[[], Iterable[ExportedImage]]


@dataclass(frozen=True)
class ExportFormat:
    """One format of an export.

    Attributes:
        write: writes the images that a function returns.
        readings: how often it calls that function.
    """

    content_type: str
    filename: str
    write: Callable[[Images, PageURL], Iterator[str]]
    readings: int = 1


COLUMNS = (
    "id",
    "file_name",
    "page_url",
    "alt_text",
    "decorative",
    "caption",
    "tags",
    "text_in_image",
    "language",
    "translations",
    "caption_source",
    "alt_text_source",
    "tags_source",
    "translation_sources",
    "reviewed_at",
    "model",
    "uploaded_at",
    "updated_at",
    "content_type",
    "size_bytes",
    "width",
    "height",
)


def _fields(image: ExportedImage, page_url: PageURL) -> dict[str, Any]:
    """Return the values of the columns of one image."""
    sources = image.sources
    return {
        "id": image.id,
        "file_name": image.filename,
        "page_url": page_url(image.id),
        "alt_text": image.shown_alt_text,
        "decorative": image.is_decorative,
        "caption": image.annotation,
        "tags": list(image.tags),
        "text_in_image": image.text_in_image,
        "language": image.language or UNKNOWN,
        "translations": image.translations,
        "caption_source": sources["annotation"],
        "alt_text_source": sources["alt_text"],
        "tags_source": sources["tags"],
        "translation_sources": image.translation_sources,
        "reviewed_at": timestamp(image.reviewed_at) if image.reviewed_at else None,
        "model": image.model,
        "uploaded_at": timestamp(image.uploaded_at),
        "updated_at": timestamp(image.updated_at),
        "content_type": image.content_type,
        "size_bytes": image.size_bytes,
        "width": image.width,
        "height": image.height,
    }


def _csv(images: Images, page_url: PageURL) -> Iterator[str]:
    """Write a table for spreadsheet programs and content management systems."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # With CR LF, as RFC 4180 says.
    text.write(_BYTE_ORDER_MARK)
    writer.writerow(COLUMNS)
    for number, image in enumerate(images(), start=1):
        fields = _fields(image, page_url)
        fields |= {
            "tags": ", ".join(image.tags),
            "decorative": "true" if image.is_decorative else "false",
            "translations": _as_cell(fields["translations"]),
            "translation_sources": _as_cell(fields["translation_sources"]),
        }
        writer.writerow(_safe_cell(fields[column]) for column in COLUMNS)
        if number % _LINES_PER_PIECE == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _as_cell(translations: Mapping[str, Mapping[str, str]]) -> str:
    """Return what is about translations as JSON, or nothing if there are none."""
    return json.dumps(translations, ensure_ascii=False) if translations else ""


def _safe_cell(value: Any) -> Any:
    """Return a value that no spreadsheet program takes for a formula. A quote makes it text."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def is_marked_as_text(cell: str) -> bool:
    """Return whether a cell of an export begins with a quote that is not part of the text."""
    return cell.startswith("'") and _FORMULA.match(cell) is not None


def _json_lines(images: Images, page_url: PageURL) -> Iterator[str]:
    """Write one JSON object for each image."""
    return json_lines(_fields(image, page_url) for image in images())


def _hugging_face(images: Images, page_url: PageURL) -> Iterator[str]:
    """Write the `metadata.jsonl` of an image folder for the library `datasets`.

    https://huggingface.co/docs/datasets/image_dataset#imagefolder
    """
    return json_lines(
        image_folder_entry(file_name(image.id, image.filename, image.content_type), image)
        for image in images()
    )


def image_folder_entry(name: str, image: ExportedImage | Image) -> dict[str, Any]:
    """Return the entry of an image in the metadata of an image folder.

    Args:
        name: the name of its file in the folder.
        image: its texts are read.
    """
    return {
        "file_name": name,
        "text": image.annotation,
        "alt_text": image.shown_alt_text,
        "tags": list(image.tags or ()),
    }


def _coco(images: Images, page_url: PageURL) -> Iterator[str]:
    """Write captions in the format of COCO, of the images that the first reading found.

    An image that matches only later has no caption here. The ids of the others are kept, which
    takes about 60 bytes for each.
    """
    listed = set[int]()

    def write_image(image: ExportedImage) -> dict[str, Any]:
        listed.add(image.id)
        name = file_name(image.id, image.filename, image.content_type)
        size = (image.width, image.height)
        return {**coco_image(image.id, name, size), "coco_url": page_url(image.id)}

    return coco(
        map(write_image, images()),
        (coco_caption(image) for image in images() if image.annotation and image.id in listed),
    )


def coco(images: Iterable[dict[str, Any]], captions: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield a document in the format of COCO: all images first, then all captions.

    https://cocodataset.org/#format-data
    """
    yield '{"info": {"description": "Image Annotation System"}, "licenses": [], "images": ['
    yield from _elements(images)
    yield '], "annotations": ['
    yield from _elements(captions)
    yield "]}\n"


def coco_image(image_id: int, name: str, size: tuple[int, int]) -> dict[str, Any]:
    """Return the entry of an image in a document of COCO."""
    return {"id": image_id, "file_name": name, "width": size[0], "height": size[1]}


def coco_caption(image: ExportedImage | Image) -> dict[str, Any]:
    """Return the entry of a caption in a document of COCO."""
    return {"id": image.id, "image_id": image.id, "caption": image.annotation}


def json_lines(objects: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield one line for each object, in pieces of many lines."""
    return _pieces(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)


def _elements(objects: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the elements of a JSON array, without its brackets, in pieces of many lines."""
    separators = chain([""], repeat(",\n"))
    return _pieces(
        separator + json.dumps(each, ensure_ascii=False)
        for separator, each in zip(separators, objects, strict=False)
    )


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    iterator = iter(lines)
    while piece := "".join(islice(iterator, _LINES_PER_PIECE)):
        yield piece


ZIP = "zip"
FORMATS = {
    "csv": ExportFormat("text/csv; charset=utf-8", "captions.csv", _csv),
    "jsonl": ExportFormat("application/jsonl; charset=utf-8", "captions.jsonl", _json_lines),
    "huggingface": ExportFormat(
        "application/jsonl; charset=utf-8", "metadata.jsonl", _hugging_face
    ),
    "coco": ExportFormat("application/json", "captions.coco.json", _coco, readings=2),
}
