"""The segments of a day as one page for marketers: the map, the groups in words, who moved."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from features.segments import landscape
from features.segments.described import cluster_labels, follows, moves, notes, rows
from features.segments.segmentation import KINDS, Segmentation
from programme.files import write_durably
from programme.words import label


def write(
    segmentation: Segmentation, earlier: Segmentation | None, language: str, path: Path
) -> Path:
    """Write the page: one file, nothing fetched from elsewhere.

    Parameters
    ----------
    earlier : of another day, to show who moved; None leaves that out
    path : of the HTML file; the map also lands beside it as SVG
    """
    facts, members = segmentation.facts, segmentation.members()
    currency = segmentation.programme.currency
    labels = cluster_labels(facts, language, currency)
    picture = landscape.draw(members, labels, currency, language, facts["seed"])
    page = _TEMPLATES.get_template("segments.html").render(
        say=lambda code, **told: label(f"segments.{code}", language, **told),
        language=language,
        programme=segmentation.programme.name,
        as_of=segmentation.as_of,
        facts=facts,
        map=picture,
        colours=landscape.COLOURS,
        tables={kind: rows(segmentation, kind, language) for kind in KINDS},
        notes={kind: notes(segmentation, kind, language) for kind in KINDS},
        follows=follows(segmentation, language),
        stability=_stability(facts),
        outliers=int(members["outlier"].sum()),
        earlier=earlier,
        moved={
            kind: found
            for kind in KINDS
            if earlier is not None
            and (found := moves(earlier, segmentation, kind, language)) is not None
        },
    )
    write_durably(path.with_suffix(".svg"), picture.encode())
    write_durably(path, page.encode())
    return path


def _stability(facts: dict[str, Any]) -> float | None:
    k = len(facts["clusters"])
    return next((row["ari_p5"] for row in facts["cluster_candidates"] if row["k"] == k), None)


_TEMPLATES = Environment(
    loader=PackageLoader("features"), autoescape=select_autoescape(), trim_blocks=True
)
