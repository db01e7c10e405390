"""The languages in which captions can be written, by their BCP 47 tags.

They are those that Gemini writes. https://ai.google.dev/gemini-api/docs/models
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

# HTML's value for a language that is not known. Without it, the text would count as English.
UNKNOWN: Final = ""
# Of the longest tag that `parse_tag` returns.
MAX_TAG_CHARACTERS: Final = 16

_TAG = re.compile(r"(?P<language>[a-z]{2,3})(?P<script>-[a-z]{4})?(?P<region>-(?:[a-z]{2}|\d{3}))?")


@dataclass(frozen=True)
class Language:
    """A language.

    Attributes:
        tag: its BCP 47 tag, without script and region.
        name: its English name.
        own_name: its name in the language itself.
    """

    tag: str
    name: str
    own_name: str


_NAMES = """
af|Afrikaans|Afrikaans
am|Amharic|አማርኛ
ar|Arabic|العربية
az|Azerbaijani|Azərbaycanca
be|Belarusian|Беларуская
bg|Bulgarian|Български
bn|Bengali|বাংলা
bs|Bosnian|Bosanski
ca|Catalan|Català
cs|Czech|Čeština
cy|Welsh|Cymraeg
da|Danish|Dansk
de|German|Deutsch
el|Greek|Ελληνικά
en|English|English
eo|Esperanto|Esperanto
es|Spanish|Español
et|Estonian|Eesti
eu|Basque|Euskara
fa|Persian|فارسی
fi|Finnish|Suomi
fil|Filipino|Filipino
fr|French|Français
ga|Irish|Gaeilge
gl|Galician|Galego
gu|Gujarati|ગુજરાતી
he|Hebrew|עברית
hi|Hindi|हिन्दी
hr|Croatian|Hrvatski
hu|Hungarian|Magyar
hy|Armenian|Հայերեն
id|Indonesian|Bahasa Indonesia
is|Icelandic|Íslenska
it|Italian|Italiano
ja|Japanese|日本語
ka|Georgian|ქართული
kk|Kazakh|Қазақ тілі
km|Khmer|ខ្មែរ
kn|Kannada|ಕನ್ನಡ
ko|Korean|한국어
la|Latin|Latina
lb|Luxembourgish|Lëtzebuergesch
lo|Lao|ລາວ
lt|Lithuanian|Lietuvių
lv|Latvian|Latviešu
mk|Macedonian|Македонски
ml|Malayalam|മലയാളം
mn|Mongolian|Монгол
mr|Marathi|मराठी
ms|Malay|Bahasa Melayu
mt|Maltese|Malti
my|Burmese|မြန်မာ
nb|Norwegian Bokmål|Norsk bokmål
ne|Nepali|नेपाली
nl|Dutch|Nederlands
nn|Norwegian Nynorsk|Norsk nynorsk
no|Norwegian|Norsk
pa|Punjabi|ਪੰਜਾਬੀ
pl|Polish|Polski
ps|Pashto|پښتو
pt|Portuguese|Português
ro|Romanian|Română
ru|Russian|Русский
si|Sinhala|සිංහල
sk|Slovak|Slovenčina
sl|Slovenian|Slovenščina
sq|Albanian|Shqip
sr|Serbian|Српски
sv|Swedish|Svenska
sw|Swahili|Kiswahili
ta|Tamil|தமிழ்
te|Telugu|తెలుగు
th|Thai|ไทย
tr|Turkish|Türkçe
uk|Ukrainian|Українська
ur|Urdu|اردو
uz|Uzbek|Oʻzbekcha
vi|Vietnamese|Tiếng Việt
zh|Chinese|中文
zu|Zulu|isiZulu
"""

LANGUAGES: Final[Mapping[str, Language]] = MappingProxyType(
    {line.partition("|")[0]: Language(*line.split("|")) for line in _NAMES.split("\n") if line}
)
_TAGS = {language.name.lower(): tag for tag, language in LANGUAGES.items()}
_TAGS_BY_NAME = {**{each.own_name.casefold(): tag for tag, each in LANGUAGES.items()}, **_TAGS}


def parse_tag(text: str) -> str | None:
    """Return the tag of a language in its usual form, from a tag or a name; None if unknown.

    `pt-br` and `pt_BR` become `pt-BR`, and `German` and `Deutsch` become `de`.
    """
    text = text.strip().casefold()
    found = _TAG.fullmatch(text.replace("_", "-"))
    if found is None or found["language"] not in LANGUAGES:
        return _TAGS_BY_NAME.get(text)
    return found["language"] + (found["script"] or "").title() + (found["region"] or "").upper()


def language_tag(name: str) -> str:
    """Return the tag of a language by its English name in lower case, or UNKNOWN."""
    return _TAGS.get(name, UNKNOWN)


def primary_language(tag: str) -> Language:
    """Return the language of a tag, without script and region.

    A later version of this system may have stored a tag that is not listed here.
    """
    language = tag.partition("-")[0]
    return LANGUAGES.get(language, Language(language, tag, tag))


def language_name(tag: str) -> str:
    """Return the English name of a tag that `parse_tag` returned: `Portuguese (pt-BR)`."""
    language = primary_language(tag)
    return language.name if tag == language.tag else f"{language.name} ({tag})"
