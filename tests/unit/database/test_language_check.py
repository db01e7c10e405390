"""The check of texts by any author: it finds clear cases, and raises no false alarm."""

import json
from pathlib import Path

import pytest

from database.alt_texts import alt_text_problems
from database.language_check import LANGUAGES
from database.models import AltTextState

ANSWERS = Path(__file__).parents[1] / "lambda_functions/annotation/answers/good.json"

# Names, titles, products and short texts that people write on a site in each language.
SOUND = [
    ("en", "Rex"),
    ("en", "Café de la Paix"),
    ("en", "La Casa de las Flores"),
    ("en", "Musée d'Orsay, Paris"),
    ("en", "Los Angeles, California"),
    ("en", "El Capitan in Yosemite at sunset"),
    ("en", "The Louvre in Paris seen from the river"),
    ("en", "Rio de Janeiro"),
    ("en", "Die Hard poster on a wall"),
    ("en", "Der Spiegel magazine on a table"),
    ("en", "Santa Maria del Fiore, Florence, Italy"),
    ("en", "Portrait of Ludwig van Beethoven"),
    ("en", "Vincent van Gogh, De Aardappeleters"),
    ("en", "Le Corbusier, Villa Savoye"),
    ("en", "Poster of La vita è bella"),
    ("en", "Plaza de la Constitución, Ciudad de México"),
    ("en", "Basilica di Santa Maria del Popolo, Rome"),
    ("en", "Café sign with the words La Maison de la Presse et du Livre in Paris"),
    ("en", "Screenshot of Visual Studio Code"),
    ("en", "DSC_0012 2019-04-03 12:11:22"),
    ("en", "Bar chart 2019 2020 2021 2022 2023 2024"),
    ("en", "Logo UEFA Champions League 2024 Final Wembley London"),
    ("en", "Pho bo, banh mi, goi cuon and bun cha"),
    ("en", "Чашка with Cyrillic text on it, standing on a table"),
    ("en", "A sign reads 禁止停车 next to a door of a house"),
    ("en", "Toyota Corolla 1.8 Hybrid Touring Sports 2023"),
    ("en", "Tyrannosaurus rex, Triceratops horridus, Stegosaurus stenops"),
    ("en", "Quercus robur L., Fagus sylvatica, Betula pendula leaves"),
    ("en", "Den Haag Centraal station entrance hall"),
    ("en", "Os Lusíadas first edition title page"),
    ("en", "Museo Nacional Centro de Arte Reina Sofía, Madrid"),
    ("en", "Universidad Nacional Autónoma de México, Facultad de Filosofía y Letras"),
    ("en", "Man and dog"),
    ("en", "Sunset"),
    ("de", "Rex am Strand"),
    ("de", "Golden Gate Bridge, San Francisco, California"),
    ("de", "The Beatles auf der Abbey Road"),
    ("de", "Screenshot von Microsoft Word for Windows"),
    ("de", "Poster von The Lord of the Rings: The Return of the King"),
    ("de", "Logo der University of California, Los Angeles"),
    ("de", "New York City Marathon 2024"),
    ("de", "The Dark Side of the Moon"),
    ("de", "Hund"),
    ("de", "Zwei Hunde"),
    ("de", "Kind mit Ball"),
    ("fr", "Le chien court sur la plage"),
    ("fr", "Rex"),
    ("fr", "The Rolling Stones à Paris"),
    ("fr", "Affiche de The Good, the Bad and the Ugly"),
    ("fr", "Statue of Liberty"),
    ("es", "Dos perros en la playa"),
    ("es", "Museu Picasso de Barcelona"),
    ("es", "Casa da Música do Porto"),
    ("es", "Catedral de Santa Maria del Mar"),
    ("es", "Sagrada Família"),
    ("pt", "Dois cães na praia"),
    ("pt", "Museo del Prado, Madrid"),
    ("pt", "Real Madrid Club de Fútbol"),
    ("it", "Due cani sulla spiaggia"),
    ("it", "Piazza del Duomo"),
    ("it", "Los Angeles Lakers"),
    ("nl", "Twee honden op het strand"),
    ("nl", "Die Hard 2"),
    ("nl", "Station Den Haag"),
    ("sv", "Två hundar på stranden"),
    ("sv", "IKEA i Älmhult"),
    ("da", "To hunde på stranden"),
    ("da", "Tivoli i København"),
    ("no", "To hunder på stranden"),
    ("no", "Oslo Operahus"),
    ("da", "Et barn og en hund på en gade med røde huse"),
    ("no", "Et barn og en hund på en gate med røde hus"),
    ("sv", "Ett barn och en hund på en gata med röda hus"),
    ("pl", "Dwa psy na plaży"),
    ("tr", "Plajda iki köpek"),
    ("id", "Dua anjing di pantai"),
    ("ru", "Две собаки на пляже"),
    ("ru", "iPhone 15 Pro Max Titanium Blue 256GB"),
    ("ru", "Apple MacBook Pro 16 M3 Max Space Black"),
    ("ru", "Логотип Microsoft"),
    ("ru", "Canon EOS R5 Mark II with RF 24-105mm lens"),
    ("ru", "The Beatles"),
    ("ru", "Adobe Photoshop Lightroom Classic"),
    ("uk", "Два собаки на пляжі"),
    ("uk", "Samsung Galaxy S24 Ultra Titanium Gray"),
    ("el", "Δύο σκυλιά στην παραλία"),
    ("el", "Mercedes-Benz Sprinter 316 CDI"),
    ("ar", "كلبان على الشاطئ"),
    ("ar", "Toyota Land Cruiser Prado 2024"),
    ("fa", "دو سگ در ساحل"),
    ("fa", "گل سرخ در باغ"),
    ("he", "שני כלבים על החוף"),
    ("he", "Coca-Cola Zero Sugar 500ml bottle"),
    ("hi", "समुद्र तट पर दो कुत्ते"),
    ("hi", "Royal Enfield Classic 350"),
    ("th", "สุนัขสองตัวบนชายหาด"),
    ("th", "Honda Civic Type R Turbo"),
    ("ko", "해변의 개 두 마리"),
    ("ko", "Samsung Galaxy Buds Pro 2 Bora Purple"),
    ("ja", "浜辺の犬"),
    ("ja", "東京都千代田区丸の内一丁目東京駅前広場"),
    ("ja", "東京特許許可局前停留所付近案内図詳細版"),
    ("ja", "Sony PlayStation 5 Digital Edition"),
    ("ja", "犬"),
    ("ja", "MacBook Pro 16インチ"),
    ("zh", "沙滩上的两只狗"),
    ("zh", "Huawei Mate 60 Pro Plus Gold"),
    ("zh", "ユニクロ"),
    ("zh", "Nintendo Switch OLED Splatoon 3 Edition"),
    ("zh", "日本料理店のメニュー"),
    ("vi", "The dog is on the beach with a ball in its mouth"),
    ("fi", "Kaksi koiraa rannalla"),
    ("cs", "Dva psi na pláži"),
]
# Sentences in another language than the expected one.
FOREIGN = [
    ("en", "Ein Hund läuft über den Strand und trägt einen Ball im Maul"),
    ("en", "Un chien court sur la plage avec une balle dans la gueule"),
    ("en", "Dos perros corren por la playa con una pelota en la boca"),
    ("en", "Собака бежит по пляжу с мячом в зубах"),
    ("en", "一只狗在沙滩上奔跑，嘴里叼着一个球，后面是海"),
    ("de", "A dog runs along the beach with a ball in its mouth"),
    ("fr", "A dog runs along the beach with a ball in its mouth"),
    ("de", "Un chien court sur la plage avec une balle dans la gueule"),
    ("ru", "A dog runs along the beach with a ball in its mouth"),
    ("ja", "A dog runs along the beach with a ball in its mouth"),
    ("ar", "A dog runs along the beach with a ball in its mouth"),
    ("es", "A dog runs along the beach with a ball in its mouth"),
    ("it", "Der Hund läuft über den Strand und trägt einen Ball im Maul"),
    ("nl", "A dog runs along the beach with a ball in its mouth"),
    ("de", "Dog with a ball running on a beach"),
    ("en", "Hund mit einem Ball am Strand"),
    ("fr", "Dog with a ball running on a beach"),
    ("pl", "A dog runs along the beach with a ball in its mouth"),
    ("zh", "A dog runs along the beach with a ball in its mouth"),
    ("en", "كلب يركض على الشاطئ وفي فمه كرة"),
]


def good_texts():
    """Return the expected language and the texts of each good answer of a model."""
    return [
        (answer["requested"], answer["fields"][field])
        for answer in json.loads(ANSWERS.read_text())
        for field in ("caption", "alt_text")
        if isinstance(answer["fields"].get(field), str)
    ]


def is_called_foreign(language, text):
    return AltTextState.LANGUAGE in alt_text_problems(text, None, language=language)


def test_no_good_answer_of_a_model_is_called_foreign():
    texts = good_texts()

    assert len(texts) > 150
    assert [each for each in texts if is_called_foreign(*each)] == []


@pytest.mark.parametrize(("language", "text"), SOUND)
def test_names_titles_and_short_texts_are_not_called_foreign(language, text):
    assert not is_called_foreign(language, text)


@pytest.mark.parametrize(("language", "text"), FOREIGN)
def test_a_sentence_in_another_language_is_called_foreign(language, text):
    assert is_called_foreign(language, text)


def test_a_quotation_may_be_in_any_language():
    text = "A sign reads “Hunde sind auf dem Rasen und am See nicht erlaubt” beside a lake"

    assert not is_called_foreign("english", text)


@pytest.mark.parametrize("language", ["vi", "sr", "Klingon", "", "English, German"])
def test_with_a_language_that_is_not_known_no_text_is_called_foreign(language):
    for _, text in FOREIGN:
        assert not is_called_foreign(language, text)


def test_what_is_called_foreign_is_foreign_for_the_texts_of_a_model_too():
    for language in LANGUAGES:
        for _, text in [*FOREIGN, *SOUND]:
            assert not language.is_clearly_foreign(text) or language.is_foreign(text)


def test_the_language_is_named_before_problems_that_an_edit_repairs():
    text = "Photo of Rex: ein Hund läuft mit einem Ball über den Strand und die Wiese. " * 2

    problems = alt_text_problems(text, text, language="en")

    assert problems == [
        AltTextState.LANGUAGE,
        AltTextState.LONG,
        AltTextState.IMAGE_OF,
        AltTextState.CAPTION,
    ]
