"""What can go wrong between a method's name and its predictor."""


class AdapterError(Exception):
    """Base of all errors of this room; its text is one line for the user."""


class UnknownAdapter(AdapterError):
    """No adapter of that name; the text lists those there are."""


class BadAdapter(AdapterError):
    """A plug-in file that cannot be imported or does not offer exactly one adapter."""


class BadHyperparameter(AdapterError):
    """A hyper-parameter that the adapter does not have, or a value it cannot take."""
