"""Corrections of texts in further languages: by the API and in exports."""

import io
import json
import zipfile

import pytest

from database.models import AnnotationSource, ImageLanguage
from database.session import session_scope
from tests.unit.web_app.test_export import store_images
from tests.unit.web_app.test_owner_rules import token

__all__ = ["store_images"]  # A fixture.

MODELS = {
    "de": {"caption": "Ein Hund.", "alt_text": "Hund"},
    "fr": {"caption": "Un chien.", "alt_text": "Chien"},
}


@pytest.fixture
def image_id(add_row, session_factory):
    """Add an image of `me` that the model described in English, German and French."""
    image_id = add_row(owner_id="me", annotation="A dog.", annotation_source=AnnotationSource.MODEL)
    with session_scope(session_factory) as session:
        row = ImageLanguage(image_id=image_id, language="en", translations=MODELS)
        session.add(row)
    return image_id


@pytest.fixture
def headers(app):
    return {"Authorization": f"Bearer {token(app, 'me')}"}


@pytest.fixture
def patch(client, image_id, headers):
    """Return a function that changes translations, and returns the response."""

    def patch(translations, **more):
        return client.patch(
            f"/api/images/{image_id}",
            json={"translations": translations},
            headers={**headers, **more},
        )

    return patch


def test_a_translation_is_corrected(client, patch, image_id):
    response = patch({"de": {"alt_text": "  Rex \n am Strand "}, "PT_br": {"caption": "Um cão."}})

    assert response.status_code == 200, response.text
    shown = client.get(f"/api/images/{image_id}").json
    assert shown["translations"] == response.json["translations"]
    assert shown["translations"] == {
        **MODELS,
        "de": {"caption": "Ein Hund.", "alt_text": "Rex am Strand"},
        "pt-BR": {"caption": "Um cão.", "alt_text": ""},
    }
    assert shown["translation_sources"]["de"] == {"caption": "model", "alt_text": "human"}
    assert shown["annotation"] == "A dog."
    assert shown["sources"]["caption"] == "model"


def test_null_takes_the_edits_of_a_language_back(patch):
    patch({"de": {"caption": "", "alt_text": None}, "it": {"alt_text": "Cane"}})
    edited = patch({}).json
    restored = patch({"de": None, "it": None}).json

    assert edited["translations"] == {"fr": MODELS["fr"], "it": {"alt_text": "Cane"}}
    assert restored["translations"] == MODELS


@pytest.mark.parametrize(
    ("translations", "message"),
    [
        ({"klingon": {"caption": "x"}}, "“klingon” is not a known language."),
        ({"de": {"caption": "x" * 2001}}, "Use up to 2,000 characters. You have 2,001."),
        ({"de": {"alt_text": "x" * 501}}, "Use up to 500 characters. You have 501."),
        (
            {"de": {"alt-text": "x"}},
            "Check “alt-text”: It is unknown here. Use caption and alt_text.",
        ),
        ({"de": "Ein Hund"}, "Check “de”: Give an object with caption and alt_text."),
        ({"de": {"caption": 1}}, "caption"),
        ([], "translations"),
        (None, "translations"),
        ({"de": {}, "German": {}}, "The texts in German are given twice."),
        ({"en": {"caption": "A dog!"}}, "English is the language of the caption."),
        (
            {tag: {"caption": "x"} for tag in ("it", "es", "pt")},
            "An image can have texts in up to 4 further languages. This would be 5.",
        ),
    ],
)
def test_a_wrong_translation_is_refused_and_nothing_changes(patch, translations, message):
    response = patch(translations)

    assert (response.status_code, response.json["code"]) == (422, "invalid_edit")
    assert message in response.json["error"]
    assert patch({}).json["translations"] == MODELS


def test_a_text_in_the_language_of_a_persons_caption_is_a_translation(
    client, patch, headers, image_id
):
    """The language of that caption is not known."""
    client.patch(f"/api/images/{image_id}", json={"annotation": "Rex."}, headers=headers)

    assert patch({"en": {"caption": "A dog."}}).json["translations"]["en"]["caption"] == "A dog."


def test_what_an_image_has_from_before_can_stay(client, app, patch, image_id, session_factory):
    patch({"pt": {"caption": "Cão."}, "it": {"caption": "Cane."}})
    with session_scope(session_factory) as session:
        # A new caption, in a language that a person had translated, and in another one.
        language = session.get_one(ImageLanguage, image_id)
        language.language, language.translations = "pt", {**MODELS, "es": MODELS["fr"]}

    assert patch({"pt": {"caption": "Cão."}, "it": {"caption": "Il cane."}}).status_code == 200
    assert patch({"pt": {"caption": "Um cão."}}).status_code == 422
    assert patch({"nl": {"caption": "Hond."}}).status_code == 422
    assert patch({"pt": {"caption": None}}).status_code == 200


@pytest.fixture
def post(client, image_id, headers):
    """Return a function that sends a form of the image's page and returns the translations."""

    def post(action, **form):
        data = {name.replace("__", "."): value for name, value in form.items()}
        response = client.post(f"/images/{image_id}/{action}", data=data, headers=headers)
        assert response.status_code == 303, response.text
        return client.get(f"/api/images/{image_id}").json["translations"]

    return post


def test_a_form_corrects_and_restores_translations(client, post, image_id, headers):
    edited = post("edit", translations__de__caption="Rex.", translations__de__alt_text="Hund")
    page = client.get(f"/images/{image_id}", headers={**headers, "Accept": "text/html"}).get_data(
        as_text=True
    )
    restored = post("restore", language="de")

    assert edited["de"] == {"caption": "Rex.", "alt_text": "Hund"}
    assert "Use these texts" in page
    assert restored == MODELS


def test_fields_of_a_form_that_name_no_text_are_ignored(post):
    assert (
        post("edit", translations__de="x", translations__de__tags="x", translations="x") == MODELS
    )


def test_a_form_that_another_edit_overtook_shows_both_texts(client, patch, image_id, headers):
    patch({"de": {"caption": "Rex."}})

    response = client.post(
        f"/images/{image_id}/edit",
        data={"version": "old", "translations.de.caption": "Wolf."},
        headers={**headers, "Accept": "text/html"},
    )

    assert response.status_code == 412
    assert ">Wolf.</textarea>" in response.text
    assert 'Saved meanwhile: <q dir="auto">Rex.</q>' in response.text


def test_an_outdated_change_is_refused_with_the_present_texts(client, patch, headers, image_id):
    etag = client.get(f"/api/images/{image_id}", headers=headers).headers["ETag"]
    first = patch({"de": {"caption": "Rex."}}, **{"If-Match": etag})
    second = patch({"de": {"caption": "Wolf."}}, **{"If-Match": etag})

    assert first.status_code == 200
    assert (second.status_code, second.json["code"]) == (412, "changed_meanwhile")
    assert second.json["current"]["translations"]["de"]["caption"] == "Rex."
    etag = client.get(f"/api/images/{image_id}", headers=headers).headers["ETag"]
    assert patch({"de": {"caption": "Wolf."}}, **{"If-Match": etag}).status_code == 200


def test_a_stranger_corrects_nothing(app, client, image_id):
    response = client.patch(
        f"/api/images/{image_id}",
        json={"translations": {"de": {"caption": "Meins."}}},
        headers={"Authorization": f"Bearer {token(app, 'another')}"},
    )

    assert response.status_code == 403
    assert client.get(f"/api/images/{image_id}").json["translations"] == MODELS


@pytest.mark.parametrize("query", ["", "&mine=true"])
def test_exports_have_the_corrections_and_their_authors(client, patch, headers, query):
    patch({"de": {"caption": "Rex."}})

    response = client.get(f"/api/export?format=jsonl{query}", headers=headers)
    exported = json.loads(response.get_data())
    response.close()
    table = client.get("/api/export", headers=headers)

    assert exported["translations"]["de"] == {"caption": "Rex.", "alt_text": "Hund"}
    assert exported["translation_sources"]["de"] == {"caption": "human", "alt_text": "model"}
    assert '""caption"": ""Rex.""' in table.get_data(as_text=True)
    table.close()


def test_the_metadata_of_pictures_has_the_corrections(client, store_images, headers):
    [image_id] = store_images("me")
    client.patch(
        f"/api/images/{image_id}",
        json={"translations": {"de": {"caption": "Rex läuft."}}},
        headers=headers,
    )

    response = client.get("/api/export?format=zip&metadata=sidecar", headers=headers)
    archive = zipfile.ZipFile(io.BytesIO(response.get_data()))
    response.close()

    [sidecar] = [name for name in archive.namelist() if name.endswith(".xmp")]
    text = archive.read(sidecar).decode()
    assert '<rdf:li xml:lang="de">Rex läuft.</rdf:li>' in text
