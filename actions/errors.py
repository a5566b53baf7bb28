"""Why a campaign was refused. Each has a code for machines and a sentence for people."""

from programme.errors import InputRefused


class ActionRefused(InputRefused):
    """Root: what was asked of a campaign cannot be done, and nothing was."""

    code = "action_refused"


class UnknownCampaign(ActionRefused):
    """There is no campaign of that id."""

    code = "unknown_campaign"


class UnknownOffer(ActionRefused):
    """The catalogue has no offer of that id."""

    code = "unknown_offer"


class NothingDecided(ActionRefused):
    """No campaign ever decided anything about her."""

    code = "nothing_decided"


class AlreadyBegun(ActionRefused):
    """It was approved, and cannot be proposed again."""

    code = "already_begun"


class NotProposed(ActionRefused):
    """It is no longer a proposal: nothing waits for a yes."""

    code = "not_proposed"


class NotApproved(ActionRefused):
    """Nobody has approved it."""

    code = "not_approved"


class NotLaunched(ActionRefused):
    """It was not launched: there is nothing to read out or to close."""

    code = "not_launched"


class Nobody(ActionRefused):
    """It would contact nobody."""

    code = "nobody"


class OfferOver(ActionRefused):
    """One of its offers does not hold on this day."""

    code = "offer_over"


class OtherFile(ActionRefused):
    """The file of its proposal is not the one that was approved."""

    code = "other_file"


class NamespaceTaken(ActionRefused):
    """A running campaign holds members it asks for."""

    code = "namespace_taken"


class Overtaken(ActionRefused):
    """Another campaign was launched since it was proposed."""

    code = "overtaken"


class CatalogueConflict(ActionRefused):
    """That version was adopted with other content."""

    code = "catalogue_conflict"


class KeyReused(ActionRefused):
    """The idempotency key came before with other content."""

    code = "key_reused"
