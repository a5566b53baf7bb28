"""The text of boosted trees, looked over before LightGBM reads it.

LightGBM ends the whole process on some texts it cannot take, reserves memory for any count that
is declared, and follows a branch wherever it points. A service must survive a bad file.
"""

from pathlib import Path

from training.sealed import ModelChanged

# Numbers a tree holds for each of its splits, and for each of its leaves; some may be left out.
_PER_SPLIT = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_MAYBE_PER_SPLIT = ("split_gain", "internal_value", "internal_weight", "internal_count")
_PER_LEAF, _MAYBE_PER_LEAF = ("leaf_value",), ("leaf_weight", "leaf_count")


def require_sound_trees(folder: Path) -> None:
    """Look over every text of trees below a folder.

    Raises
    ------
    ModelChanged : if one declares what it does not hold.
    """
    for path in sorted(folder.rglob("*.txt")):
        with path.open("rb") as file:
            if file.read(5).strip() != b"tree":
                continue
        try:
            _require_sound(path.read_text("utf-8"))
        except ValueError as error:
            raise ModelChanged(
                f"The trees of {path.relative_to(folder).as_posix()} are not as LightGBM writes "
                f"them: {error}. They were not loaded. Roll back to another version, or train "
                "again."
            ) from error


def _require_sound(text: str) -> None:
    head, *trees = text.partition("\nend of trees")[0].split("\nTree=")
    declared = _pairs(head)
    n_columns = int(declared["max_feature_idx"]) + 1
    names = declared["feature_names"].split()
    if n_columns != len(names):
        raise ValueError(f"{n_columns} columns declared, {len(names)} named")
    for count in ("num_class", "num_tree_per_iteration"):
        if not 1 <= int(declared[count]) <= max(1, len(trees)):
            raise ValueError(f"{count} {declared[count]} for {len(trees)} trees")
    sizes = declared.get("tree_sizes", "").split()
    if sizes and len(sizes) != len(trees):
        raise ValueError(f"{len(sizes)} trees declared, {len(trees)} there")
    if sum(map(int, sizes)) > len(text.encode()):
        raise ValueError("trees of more bytes than the file has")
    for number, tree in enumerate(trees):
        _require_tree(_pairs(tree), n_columns, f"tree {number}")


def _require_tree(tree: dict[str, str], n_columns: int, what: str) -> None:
    n_leaves = int(tree["num_leaves"])
    _require_numbers(tree, _PER_LEAF, _MAYBE_PER_LEAF, n_leaves, f"{what}, of {n_leaves} leaves,")
    n_splits = n_leaves - 1
    _require_numbers(tree, _PER_SPLIT, _MAYBE_PER_SPLIT, n_splits, f"{what}, of {n_splits} splits,")
    if n_splits:
        if any(not 0 <= int(column) < n_columns for column in tree["split_feature"].split()):
            raise ValueError(f"{what} splits a column beyond the {n_columns}")
        _require_branches(tree["left_child"].split(), tree["right_child"].split(), n_leaves, what)
    if int(tree["num_cat"]) or int(tree.get("is_linear", "0")):
        raise ValueError(f"{what} splits by name or is linear; none of ours does or is")


def _require_numbers(
    tree: dict[str, str], wanted: tuple[str, ...], maybe: tuple[str, ...], count: int, what: str
) -> None:
    for name in (*wanted, *maybe):
        numbers = [float(number) for number in tree.get(name, "").split()]
        if len(numbers) != count and (numbers or name in wanted):
            raise ValueError(f"{what} has {len(numbers)} of {name}")


def _require_branches(left: list[str], right: list[str], n_leaves: int, what: str) -> None:
    """Refuse a branch into nowhere, and two into one place: every walk then ends at a leaf."""
    # A branch is the number of a split, or of a leaf as its bitwise complement.
    reached = [int(child) for pair in zip(left, right, strict=True) for child in pair]
    wanted = [*range(1, n_leaves - 1), *(~leaf for leaf in range(n_leaves))]
    if n_leaves > 1 and sorted(reached) != sorted(wanted):
        raise ValueError(f"{what} has branches that lead nowhere")


def _pairs(text: str) -> dict[str, str]:
    lines = (line.partition("=") for line in text.splitlines())
    pairs = {name: value for name, sign, value in lines if sign}
    return _Named(pairs)


class _Named(dict[str, str]):
    def __missing__(self, name: str) -> str:
        raise ValueError(f"no {name}")
