"""Refuse a run-time dependency whose licence would bind the people who run Perennial.

Run time is [project.dependencies], the extras `demo` and `kafka`, and whatever those require on
this platform. Development tools may carry any licence, since nobody receives them from us. Allowed
are permissive licences, the LGPL and the like (we import, we do not modify), and any choice of
licences of which one is allowed. Refused are the GPL, the AGPL, the SSPL, and a licence that cannot
be read.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("demo", "kafka")
PREFIX = "License :: "
# "GPL-3.0-only" and "GNU General Public License", but neither "LGPL" nor "GNU Lesser General ...".
REFUSED = re.compile(
    r"\bA?GPL|\bGNU (Affero )?General Public|\bAffero\b|\bSSPL|Server Side Public", re.IGNORECASE
)
# The GPL of a compiler's own run-time library, as wheels carry it, lets what it compiled go free.
RUNTIME_EXCEPTION = re.compile(r"\bGPL-\S+\s+WITH\s+GCC-exception-\S+", re.IGNORECASE)
# Metadata that names no licence; read by a person in the LICENSE file of the wheel.
READ_BY_HAND = {"huey": "MIT", "skops": "MIT"}


def runtime_distributions(requirements: list[str], extras: tuple[str, ...]) -> list[Distribution]:
    """Return every installed distribution that `requirements` reach, in order of name.

    Parameters
    ----------
    requirements : requirement lines of the project itself
    extras : the extras of the project whose lines are among them

    Raises
    ------
    PackageNotFoundError : if a required distribution is not installed.
    """
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(line), extras) for line in requirements]
    walked: set[tuple[str, str]] = set()
    while waiting:
        requirement, for_extras = waiting.pop()
        if not _applies(requirement, for_extras):
            continue
        name = canonicalize_name(requirement.name)
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in walked:
                continue
            walked.add((name, extra))
            found[name] = distribution(name)
            required = found[name].requires or []
            waiting += [(Requirement(line), (extra,)) for line in required]
    return [found[name] for name in sorted(found)]


def _applies(requirement: Requirement, extras: tuple[str, ...]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def licences(found: Distribution) -> list[str]:
    """Return the licences a distribution offers to choose from; none if it does not say."""
    name, expression, stated = (
        "".join(found.metadata.get_all(field) or [])
        for field in ("Name", "License-Expression", "License")
    )
    if by_hand := READ_BY_HAND.get(canonicalize_name(name)):
        return [by_hand]
    if expression:
        return _choices(expression)
    classifiers = [
        line.removeprefix(PREFIX).removeprefix("OSI Approved :: ")
        for line in found.metadata.get_all("Classifier") or []
        if line.startswith(PREFIX) and line != f"{PREFIX}OSI Approved"
    ]
    if classifiers:
        return classifiers
    # Some put the whole text here: its first line is the licence's name, or says whose it is.
    first_line = stated.strip().partition("\n")[0]
    return [] if re.match(r"$|UNKNOWN|Copyright", first_line, re.IGNORECASE) else [first_line]


def _choices(expression: str) -> list[str]:
    """Split an SPDX expression at its outermost OR; what AND joins stays one choice."""
    choices, depth, start = [], 0, 0
    for token in re.finditer(r"[()]|\bOR\b", expression):
        if token.group() == "OR":
            if depth == 0:
                choices.append(expression[start : token.start()].strip())
                start = token.end()
        else:
            depth += 1 if token.group() == "(" else -1
    return [*choices, expression[start:].strip()]


def is_refused(licence: str) -> bool:
    """Tell whether one choice of licence binds the people who run the program."""
    return REFUSED.search(RUNTIME_EXCEPTION.sub("", licence)) is not None


def complaints(distributions: list[Distribution]) -> Iterator[str]:
    """Yield one sentence per distribution that may not be a run-time dependency."""
    for found in distributions:
        offered = licences(found)
        name = f"{found.metadata['Name']} {found.version}"
        if not offered:
            yield f"{name} names no licence. Read it, then add it to READ_BY_HAND with its source."
        elif all(is_refused(licence) for licence in offered):
            yield f"{name} is under {' or '.join(offered)}. Use another package, or move it to dev."


def main() -> int:
    """Check this repository's run-time dependencies; 0 if all may stay."""
    repository = Path(__file__).resolve().parents[1]
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    requirements = [*project["dependencies"], *(line for name in EXTRAS for line in optional[name])]
    try:
        distributions = runtime_distributions(requirements, EXTRAS)
    except PackageNotFoundError as error:
        print(f"{error.name} is required and not installed. Nothing was judged. Run make setup.")
        return 2
    refused = list(complaints(distributions))
    for complaint in refused:
        print(f"Refused: {complaint}")
    print(f"Licences: {len(distributions)} run-time dependencies read, {len(refused)} refused.")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
