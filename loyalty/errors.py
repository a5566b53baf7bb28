"""Why a posting was refused. Each has a code for machines and a sentence for people."""

from programme.errors import InputRefused


class PostingRefused(InputRefused):
    """Root: the caller asked for what cannot be posted, and nothing was."""

    code = "posting_refused"


class Malformed(PostingRefused):
    """An id, an amount or a date that cannot be what was meant."""

    code = "malformed"


class WrongCurrency(PostingRefused):
    """An amount in another currency than the programme's; its sentence repeats no other text."""

    code = "wrong_currency"


class UnknownMember(PostingRefused):
    """Nobody of that id ever had points."""

    code = "unknown_member"


class UnknownPosting(PostingRefused):
    """There is no posting of that id, or it is another member's."""

    code = "unknown_posting"


class PostingConflict(PostingRefused):
    """The same id was posted before with other content."""

    code = "posting_conflict"


class InsufficientPoints(PostingRefused):
    """She has less than that to spend."""

    code = "insufficient_points"


class NotReversible(PostingRefused):
    """Postings of that kind stand, or more would be taken back than was posted."""

    code = "not_reversible"


class OutsideLimits(PostingRefused):
    """An amount or a date beyond what the programme's rules allow."""

    code = "outside_limits"
