"""The tags of the languages in which captions are written, for the `lang` attribute of a page."""

# BCP 47 tags by the English names that the annotation function records.
_TAGS = {
    "arabic": "ar",
    "chinese": "zh",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "greek": "el",
    "hebrew": "he",
    "hindi": "hi",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "norwegian": "no",
    "persian": "fa",
    "polish": "pl",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "thai": "th",
    "turkish": "tr",
    "ukrainian": "uk",
}
# HTML's value for a language that is not known. Without it, the text would count as English.
UNKNOWN = ""


def language_tag(name: str) -> str:
    """Return the tag of a language by its English name in lower case, or UNKNOWN."""
    return _TAGS.get(name, UNKNOWN)
