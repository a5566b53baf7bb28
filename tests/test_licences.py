"""`make licences` refuses what binds our users, and only that."""

from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import licences
import pytest


def installed(folder: Path, name: str, *headers: str) -> PathDistribution:
    """Write the metadata of a distribution as an installer would."""
    metadata = folder / f"{name}-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(
        "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *headers])
    )
    return PathDistribution(metadata.parent)


@pytest.mark.parametrize(
    "header",
    [
        "License-Expression: GPL-3.0-only",
        "License-Expression: MIT AND GPL-2.0-or-later",
        "License-Expression: AGPL-3.0-or-later OR SSPL-1.0",
        "License-Expression: (MIT OR BSD-3-Clause) AND GPL-3.0-only",
        "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
        "Classifier: License :: OSI Approved :: GNU Affero General Public License v3",
        "License: GPLv2",
        "License: GNU GENERAL PUBLIC LICENSE",
        "Summary: names no licence",
        "License: UNKNOWN",
        "License: Copyright (c) 2020 Somebody",
    ],
)
def test_a_licence_that_binds_or_cannot_be_read_is_refused(tmp_path: Path, header: str) -> None:
    package = installed(tmp_path, "example", header)

    assert len(list(licences.complaints([package]))) == 1


@pytest.mark.parametrize(
    "header",
    [
        "License-Expression: MIT",
        "License-Expression: LGPL-3.0-or-later",
        "License-Expression: GPL-3.0-only OR Apache-2.0",
        "License-Expression: BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1",
        "Classifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)",
        "Classifier: License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)",
        "License: BSD",
    ],
)
def test_a_permissive_or_lesser_licence_or_the_choice_of_one_may_stay(
    tmp_path: Path, header: str
) -> None:
    package = installed(tmp_path, "example", header)

    assert list(licences.complaints([package])) == []


def test_the_walk_follows_requirements_and_extras_but_no_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = {
        "till": ["paper>=1", "printer; extra == 'print'", "linter; extra == 'dev'"],
        "paper": ["till", "ink; python_version < '3'"],  # a circle, and a marker that is false
        "printer": ["toner[black]"],
        "toner": ["carbon; extra == 'black'", "wax; extra == 'red'"],
        "carbon": [],
    }
    packages: dict[str, Distribution] = {
        name: installed(tmp_path, name, *(f"Requires-Dist: {line}" for line in lines))
        for name, lines in shop.items()
    }
    monkeypatch.setattr(licences, "distribution", packages.__getitem__)

    reached = licences.runtime_distributions(["till[print]"], ())

    assert [found.metadata["Name"] for found in reached] == [
        "carbon", "paper", "printer", "till", "toner",
    ]  # fmt: skip


def test_our_own_runtime_dependencies_may_stay(capsys: pytest.CaptureFixture[str]) -> None:
    assert licences.main() == 0, capsys.readouterr().out
