"""The errors that gmadet_nb raises on purpose."""


class GmadetError(Exception):
    """Base of every error raised on purpose."""


class BadInputError(GmadetError, ValueError):
    """Raised when a value, file or table that came in cannot be used."""


class BadParameterError(BadInputError):
    """Raised when a campaign parameter is unknown or has a wrong type or value."""


class BadImageError(BadInputError):
    """Raised when one image cannot be used; the night goes on without it."""


class StageError(GmadetError):
    """Raised when a stage of the chain stops before its last cell."""
