"""Read a file of corrections: the CSV or the JSON Lines of an export, or some of its columns."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from database.models import TRANSLATED_TEXTS
from web_app.errors import InvalidImportError, LineError
from web_app.services.export import COLUMNS, is_marked_as_text

MAX_LINES = 10_000
MAX_IMPORT_BYTES = 10 * 1024 * 1024
_MAX_ID_DIGITS = 18

# The columns with texts that an import changes, and the fields of an image.
TEXT_COLUMNS = {"caption": "annotation", "alt_text": "alt_text", "tags": "tags"}
_TRANSLATIONS = "translations"
_KEYS = ("id", "file_name")
# The other columns of an export tell nothing that an import can change.
_READ_COLUMNS = (*_KEYS, "updated_at", *TEXT_COLUMNS, _TRANSLATIONS)
_SEPARATORS = ",;\t"
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


_NO_TRANSLATIONS = (
    "The translations cannot be read. Write them as an export does, for example "
    '{"de": {"caption": "Ein Hund.", "alt_text": "Hund"}}.'
)


@dataclass(frozen=True)
class Correction:
    """One line of a file.

    Attributes:
        number: the number of the line in the file, beginning with 1.
        image_id: the id, or None if the line names a file.
        file_name: the name of the file, or None.
        updated_at: the time of the last change at the time of the export, or None.
        texts: the new texts by the field of the image. Tags are a list, or text with commas.
        translations: the new texts in further languages, by language and name.
    """

    number: int
    image_id: int | None
    file_name: str | None
    updated_at: str | None
    texts: Mapping[str, str | Sequence[str]]
    translations: Mapping[str, Mapping[str, str]]


def read_corrections(data: bytes) -> tuple[list[Correction], list[LineError]]:
    """Read the lines of a file, and the errors of those that cannot be read.

    Raises:
        InvalidImportError: the whole file cannot be read.
    """
    text = _decode(data)
    if text.lstrip().startswith("["):
        raise InvalidImportError(
            "This file is a list in JSON. Write one object on each line, without brackets around "
            "them and without commas between them."
        )
    is_json = text.lstrip().startswith("{")
    corrections: list[Correction] = []
    errors: list[LineError] = []
    for count, (number, cells) in enumerate(_json_lines(text) if is_json else _csv(text), start=1):
        if count > MAX_LINES:
            raise InvalidImportError(
                f"This file has more than {MAX_LINES:,} lines. Split it, and import one part after "
                "the other."
            )
        try:
            corrections.append(_correction(number, cells))
        except ValueError as error:
            errors.append(LineError(number, str(error)))
    if not corrections and not errors:
        raise InvalidImportError("This file has no lines with images. Choose another file.")
    return corrections, errors


def _decode(data: bytes) -> str:
    if not data.strip(b"\x00 \t\r\n\xef\xbb\xbf\xff\xfe"):
        raise InvalidImportError("This file is empty. Choose a CSV or JSON Lines file.")
    if data.startswith(b"PK"):
        raise InvalidImportError(
            "This is a workbook or a ZIP. Open it, save the table as CSV, and choose that file."
        )
    marked = (name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark))
    encodings = [name] if (name := next(marked, None)) else ["utf-8", "windows-1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text
    raise InvalidImportError(
        "The characters of this file cannot be read. Save it as CSV in UTF-8 and choose it again."
    )


# What a line holds, by the columns of an export; or why it cannot be read.
_Cells = Mapping[str, Any] | ValueError


def _csv(text: str) -> Iterator[tuple[int, _Cells]]:
    """Yield the number and the cells of each record. A cell with line breaks has several lines."""
    # Spreadsheet programs name the separator in a line of its own.
    named = re.match(r"sep=([,;\t])\r?\n", text)
    separator = named[1] if named else _separator(text)
    lines_before = 1 if named else 0
    rows = csv.reader(
        io.StringIO(text[named.end() :] if named else text, newline=""),
        delimiter=separator,
        strict=True,
    )
    columns: list[str] | None = None
    number = lines_before + 1
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            # The reader cannot find the beginning of the next record.
            if columns is None:
                raise InvalidImportError(_quoting_problem(error)) from error
            yield number, ValueError(_quoting_problem(error))
            return
        if any(cell.strip() for cell in row):
            row = _without_empty_end(row, len(columns or ()))
            if columns is None:
                columns = _check_columns(row)
            elif len(row) != len(columns):
                yield (
                    number,
                    ValueError(
                        f"This line has {len(row)} cells, but the first line has {len(columns)}."
                    ),
                )
            else:
                yield number, {k: _cell(v) for k, v in zip(columns, row, strict=True)}
        number = lines_before + rows.line_num + 1


def _without_empty_end(row: Sequence[str], expected: int) -> list[str]:
    """Return a row without the empty cells that spreadsheet programs add at its end."""
    cells = list(row)
    while len(cells) > expected and not cells[-1].strip():
        cells.pop()
    return cells


def _separator(text: str) -> str:
    first_line = text.lstrip("\r\n").splitlines()[0] if text.strip() else ""

    def known_columns(separator: str) -> int:
        names = (_column(cell.strip('"')) for cell in first_line.split(separator))
        return sum(name in COLUMNS for name in names)

    return max(_SEPARATORS, key=known_columns)


def _column(name: str) -> str:
    return name.strip().casefold().replace(" ", "_")


def _check_columns(names: Sequence[str]) -> list[str]:
    columns = [_column(name) for name in names]
    unknown = [name for name, column in zip(names, columns, strict=True) if column not in COLUMNS]
    if unknown:
        listed = ", ".join(f"“{name[:50]}”" for name in unknown[:5])
        raise InvalidImportError(
            f"The first line must name columns of an export. It has {listed}. Remove or rename "
            f"these. An import reads {', '.join(_READ_COLUMNS)}."
        )
    if len(set(columns)) < len(columns):
        raise InvalidImportError("Two columns of the first line have the same name. Remove one.")
    if not set(_KEYS) & set(columns):
        raise InvalidImportError("Add a column “id” or “file_name”, which names the images.")
    if not {*TEXT_COLUMNS, _TRANSLATIONS} & set(columns):
        raise InvalidImportError(
            "Add a column “caption”, “alt_text”, “tags” or “translations” with new texts."
        )
    return columns


def _quoting_problem(error: csv.Error) -> str:
    if "field larger" in str(error):
        return (
            f"A cell has more than {csv.field_size_limit():,} characters. Shorten it, or close its "
            "quotation mark. The lines after it were not read."
        )
    return (
        "A quotation mark is not closed, or not doubled within a cell. Correct it. The lines after "
        "it were not read."
    )


def _cell(text: str) -> str | None:
    """Return the text of a cell, without the quote with which an export marks text. None if it is
    empty.
    """
    text = text[1:] if is_marked_as_text(text) else text
    return text if text.strip() else None


def _json_lines(text: str) -> Iterator[tuple[int, _Cells]]:
    # `str.splitlines` would also end a line within a text, for example at U+2028.
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError):
            yield number, ValueError("This line is not a JSON object. Write one object on a line.")
            continue
        if not isinstance(cells, dict):
            yield number, ValueError("This line is not a JSON object. Write one object on a line.")
        elif unknown := next((name for name in cells if name not in COLUMNS), None):
            yield (
                number,
                ValueError(
                    f"The field “{unknown[:50]}” is not one of an export. Remove or rename it. An "
                    f"import reads {', '.join(_READ_COLUMNS)}."
                ),
            )
        else:
            yield number, cells


def _correction(number: int, cells: _Cells) -> Correction:
    """Check the types of a line.

    Raises:
        ValueError: a sentence for the person.
    """
    if isinstance(cells, ValueError):
        raise cells
    image_id = _image_id(cells.get("id"))
    file_name = _text_of(cells, "file_name") or None
    if image_id is None and file_name is None:
        raise ValueError("This line names no image. Fill in its id or its file name.")
    texts: dict[str, str | Sequence[str]] = {}
    for column, field in TEXT_COLUMNS.items():
        value = cells.get(column)
        if column == "tags" and isinstance(value, list):
            if not all(isinstance(tag, str) for tag in value):
                raise ValueError("Each tag must be text.")
            texts[field] = value
        elif (text := _text_of(cells, column)) is not None:
            texts[field] = text
    translations = dict(_translations(cells.get(_TRANSLATIONS)))
    return Correction(
        number, image_id, file_name, _text_of(cells, "updated_at"), texts, translations
    )


def _translations(value: Any) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield each language with its new texts. Null changes nothing.

    Raises:
        ValueError: a sentence for the person.
    """
    if isinstance(value, str):  # The cell of a table.
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(_NO_TRANSLATIONS) from None
    if not isinstance(value, dict | None):
        raise ValueError(_NO_TRANSLATIONS)
    for language, texts in (value or {}).items():
        if not isinstance(texts, dict | None):
            raise ValueError(_NO_TRANSLATIONS)
        for name, text in (texts or {}).items():
            if name not in TRANSLATED_TEXTS or not isinstance(text, str | None):
                raise ValueError(_NO_TRANSLATIONS)
        yield language, {name: text for name, text in (texts or {}).items() if text is not None}


def _image_id(value: Any) -> int | None:
    if value is None:
        return None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    text = str(value).strip() if is_number or isinstance(value, str) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_ID_DIGITS):
        raise ValueError("The id is not a whole number. Copy it from an export.")
    return int(text)


def _text_of(cells: Mapping[str, Any], column: str) -> str | None:
    value = cells.get(column)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"The value of “{column}” must be text.")
    return value
