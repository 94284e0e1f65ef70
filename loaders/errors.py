"""What can go wrong, split by what an orchestrator should do about it."""


class LoaderError(Exception):
    """Any failure that a sentence explains."""


class TransientError(LoaderError):
    """Trying the same step again may help: a network fault, a busy service."""


class TerminalError(LoaderError):
    """Trying again will not help: somebody has to look."""


class DeliveryRefused(TerminalError):
    """The delivery as a whole cannot be accepted; the data it would have replaced stay."""
