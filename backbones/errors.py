"""What can go wrong between a weights file and an embedding."""


class BackboneError(Exception):
    """Base of all errors of this room; its text is one line for the user."""


class UnknownBackbone(BackboneError):
    """No backbone of that name; the text lists those there are."""


class BadWeights(BackboneError):
    """A weights file that is missing, unsafe, incomplete or of another network."""
