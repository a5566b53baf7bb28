"""The errors a person may read: what, with which values, what did not happen, what to do."""


class PerennialError(Exception):
    """Root of every error we raise on purpose; anything else is a fault of ours."""

    exit_code = 1


class InputRefused(PerennialError):
    """The caller's mistake: a file, an argument or a request we cannot accept (HTTP 4xx)."""

    exit_code = 2


class NotReady(PerennialError):
    """Something that must come first has not happened yet (HTTP 503)."""

    exit_code = 3
