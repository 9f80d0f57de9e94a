"""What a backbone was trained on: in the user's words, names in them that look misspelt, what it says of a domain."""

from collections.abc import Iterable, Mapping, Sequence

from backbones.contract import BackboneCard, checked_parts
from backbones.errors import BadWeights
from episodes.known_datasets import KNOWN, nearest_name, of_same_classes
from episodes.sources import pocket
from harness.errors import HarnessError

NONE = "none"
TrainedOn = Mapping[str, Sequence[str]]


def parse_trained_on(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """As a card holds it, from words like `omniglot` (its train classes), `ilsvrc_2012=all`, `dtd=train+valid`;
    `none` alone is none of a benchmark's domains.

    Raises HarnessError for a word that says nothing, a part that does not exist or a domain that stands twice.
    """
    texts = tuple(texts)
    if texts == (NONE,):
        return {}
    if NONE in texts:
        raise HarnessError(f"--trained-on {','.join(texts)}: {NONE} stands alone")
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        domain, equals, parts = text.partition("=")
        if not domain or domain in found:
            why = "names no domain" if not domain else f"names {domain} twice"
            raise HarnessError(f"--trained-on {text}: {why}; write it as in ilsvrc_2012=all,omniglot,dtd=train+valid")
        try:
            found[domain] = checked_parts(domain, parts.split("+") if equals else ("train",))
        except BadWeights as error:
            raise HarnessError(f"--trained-on {error}") from error
    return found


def doubtful_names(trained_on: Iterable[str], own: Iterable[str] = ()) -> list[str]:
    """A line for each domain that is no known data set and none of the user's `own`, but has a name like one of them:
    what is trained on under a wrong name counts as unseen."""
    names = {*KNOWN, *(other for known in KNOWN for other in of_same_classes(known)), *pocket.DOMAINS, *own}
    meant = {domain: nearest_name(domain, names) for domain in trained_on if domain not in names}
    known = "no data set of that name is known"
    return [f"trained on {domain!r}: {known}. Did you mean {near!r}?" for domain, near in meant.items() if near]


def seen(card: BackboneCard, domain: str) -> str:
    """The card's word on a domain; a data set of the same classes, split otherwise, is as good as the domain itself."""
    return "seen" if _trained_on_its_classes(card, domain) else card.seen(domain)


def contaminated(card: BackboneCard, domain: str, split: str) -> bool:
    """Likewise, whether classes of that split were trained on: a part of such a data set has classes of all splits."""
    return _trained_on_its_classes(card, domain) or card.contaminated(domain, split)


def _trained_on_its_classes(card: BackboneCard, domain: str) -> bool:
    return not of_same_classes(domain).isdisjoint(card.trained_on)
