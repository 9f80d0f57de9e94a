import base64
import io

import numpy as np
from PIL import Image

from results.report.cards import SIDE, DomainImages, cards, picture


def opened(uri):
    kind, data = uri.removeprefix("data:").split(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    return kind, np.asarray(image)


def test_a_small_image_is_shown_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (28, 20, 3), dtype=np.uint8)
    kind, shown = opened(picture(image))
    assert kind == "image/png"
    assert (shown == image).all()


def test_a_large_image_is_made_smaller_and_keeps_its_shape():
    kind, shown = opened(picture(np.zeros((400, 800, 3), np.uint8)))
    assert kind == "image/jpeg"
    assert shown.shape == (SIDE // 2, SIDE, 3)


def test_a_card_says_what_its_episodes_are_made_of(board, episodes, rows):
    found = {"icons": DomainImages(classes=25, images=1234, samples=[np.zeros((8, 8, 3), np.uint8)] * 2)}
    icons, mnist, _ = cards(board, episodes, found)
    facts = dict(icons.facts)
    way = rows.loc[rows["domain"] == "icons", "way"]
    assert facts["classes per episode"].startswith(f"{way.min()} to {way.max()}")
    assert (facts["classes drawn"], facts["images drawn"], facts["episodes"]) == ("25", "1,234", "60")
    assert len(icons.pictures) == 2
    assert "classes drawn" not in dict(mnist.facts)


def test_the_state_and_the_best_method_are_on_the_card(board, episodes):
    icons, mnist, _ = cards(board, episodes, {})
    assert (icons.state, mnist.state) == ("seen", "unseen")
    assert dict(icons.facts)["best mean"].endswith("(copa)")


def test_a_card_without_pictures_says_why(board, episodes):
    card = cards(board, episodes, {"mnist": DomainImages(why_none="give --records to show some")})[1]
    assert (card.pictures, card.why_none) == ([], "give --records to show some")
