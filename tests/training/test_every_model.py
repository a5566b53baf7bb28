"""What holds for every model, whatever it predicts.

One small entry in `models/cases.py` brings a new kind under all of this; a kind of
`training/models/__init__.py` without one fails here.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from threadpoolctl import threadpool_limits

from programme.errors import InputRefused
from tests.training.models.cases import CASES, Case, answers, assert_same, fit, share_among
from tests.training.models.worlds import World, dated, world
from training.models import MODELS, boosting, load_model
from training.models.folder import ModelRefused

# Rules of value: they repeat what was and learn nothing from what followed.
RULES = ("past_spend", "value_stretched")
# They learn from what members bought for the first time, and refuse where nobody did.
NEW_TO_HER = ("blend", "explore_ranker")

every_model = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
of_rows = pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if case.predicts != "products"],
    ids=[kind for kind, case in CASES.items() if case.predicts != "products"],
)


@pytest.fixture(scope="module")
def past() -> World:
    return world(400, seed=1)


@pytest.fixture(scope="module")
def present() -> World:
    return world(60, seed=2)


@pytest.fixture(scope="module")
def fitted(past: World) -> dict[str, Any]:
    return {kind: fit(case, past) for kind, case in CASES.items()}


def model_of(case: Case, fitted: dict[str, Any]) -> Any:
    return next(fitted[kind] for kind, known in CASES.items() if known is case)


def test_every_kind_is_in_this_suite() -> None:
    assert set(CASES) == set(MODELS)
    assert all(MODELS[kind].kind == kind for kind in MODELS)


@every_model
def test_a_saved_model_answers_exactly_as_before(
    case: Case, fitted: dict[str, Any], present: World, tmp_path: Path
) -> None:
    model = model_of(case, fitted)
    model.save(tmp_path / "model")

    loaded = load_model(tmp_path / "model")

    assert type(loaded) is type(model)
    assert_same(answers(case, loaded, present), answers(case, model, present))


@every_model
def test_a_model_saved_twice_is_the_same_files(
    case: Case, fitted: dict[str, Any], tmp_path: Path
) -> None:
    model_of(case, fitted).save(tmp_path / "one")
    load_model(tmp_path / "one").save(tmp_path / "two")

    documents = [(tmp_path / name / "model.json").read_text("utf-8") for name in ("one", "two")]

    assert documents[0] == documents[1]


@every_model
def test_the_same_seed_gives_the_same_model(
    case: Case, fitted: dict[str, Any], past: World, present: World
) -> None:
    again = fit(case, past)

    assert_same(answers(case, again, present), answers(case, model_of(case, fitted), present))


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind, case in CASES.items()
        # Recommenders leave it to the library that multiplies their matrices.
        if share_among(case.make(1), 1) or case.predicts == "products"
    ],
)
def test_the_number_of_threads_does_not_matter(
    kind: str, fitted: dict[str, Any], past: World, present: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[kind]
    with threadpool_limits(1):
        alone = answers(case, fitted[kind], present)
    # So few rows would be left to one thread, and nothing would be tried.
    monkeypatch.setattr(boosting, "ROWS_TO_SHARE_TRAINING", 0)
    monkeypatch.setattr(boosting, "ROWS_TO_SHARE_PREDICTION", 0)

    with threadpool_limits(2):
        shared = answers(case, fit(case, past, num_threads=2), present)

    assert_same(alone, shared)


def test_threads_are_tried_of_every_model_that_has_them() -> None:
    able = {kind for kind, case in CASES.items() if share_among(case.make(1), 2)}

    # A mean has none of its own, but is made of models that do.
    assert {"lightgbm", "value_gbm", "value_lstm", "value_mean"} <= able
    assert "past_spend" not in able


@every_model
def test_no_global_generator_is_read_or_moved(
    case: Case, past: World, present: World, tmp_path: Path
) -> None:
    before = torch.random.get_rng_state().clone()
    legacy = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002

    model = fit(case, past)
    model.save(tmp_path / "model")
    answers(case, load_model(tmp_path / "model"), present)

    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], legacy)  # type: ignore[index]  # noqa: NPY002


@every_model
def test_a_member_alone_is_answered_as_among_many(
    case: Case, fitted: dict[str, Any], present: World
) -> None:
    model = model_of(case, fitted)
    among_many = answers(case, model, present)

    for position in (0, 17, 59):
        alone = answers(case, model, present.take(np.array([position])))
        assert_same(alone, [among_many[position]], within=1e-9)


@every_model
def test_permuting_the_members_permutes_the_answers(
    case: Case, fitted: dict[str, Any], present: World
) -> None:
    model = model_of(case, fitted)
    order = np.random.default_rng(5).permutation(len(present.rows))
    straight = answers(case, model, present)

    permuted = answers(case, model, present.take(order))

    assert_same(permuted, [straight[position] for position in order], within=1e-9)


@every_model
def test_the_callers_data_is_left_alone(case: Case, past: World) -> None:
    features, products = past.rows.features.copy(), past.products.copy()
    weekly = past.rows.weekly
    assert weekly is not None
    before = weekly.copy()

    answers(case, fit(case, past), past)

    pd.testing.assert_frame_equal(past.rows.features, features)
    pd.testing.assert_frame_equal(past.products, products)
    assert np.array_equal(weekly, before)


@of_rows
def test_a_column_without_a_single_value_is_no_obstacle(
    case: Case, past: World, present: World
) -> None:
    def blank(known: World) -> World:
        features = known.rows.features.assign(noise=np.nan, recency_days=np.nan)
        return replace(known, rows=replace(known.rows, features=features))

    model = fit(case, blank(past))

    assert np.isfinite(answers(case, model, blank(present))).all()
    assert np.isfinite(answers(case, model, present)).all()


@of_rows
def test_the_order_of_columns_and_further_columns_do_not_matter(
    case: Case, fitted: dict[str, Any], present: World
) -> None:
    features = present.rows.features[present.rows.features.columns[::-1]].assign(further=1.0)
    turned = replace(present, rows=replace(present.rows, features=features))
    model = model_of(case, fitted)

    assert_same(answers(case, model, turned), answers(case, model, present))


@of_rows
def test_a_member_of_whom_nothing_is_known_is_answered(
    case: Case, fitted: dict[str, Any], present: World
) -> None:
    model, features = model_of(case, fitted), present.rows.features.copy()
    features.iloc[3] = np.nan
    weekly = present.rows.weekly
    assert weekly is not None
    nothing = weekly.copy()
    nothing[3] = 0
    rows = replace(present.rows, features=features, weekly=nothing)

    said = answers(case, model, replace(present, rows=rows))

    assert np.isfinite(said).all()
    others = [n for n in range(len(said)) if n != 3]
    straight = answers(case, model, present)
    assert_same([said[n] for n in others], [straight[n] for n in others], within=1e-9)


@pytest.mark.parametrize("kind", [k for k, case in CASES.items() if case.predicts == "products"])
def test_products_and_members_it_never_saw_are_no_obstacle(
    kind: str, fitted: dict[str, Any], past: World, present: World
) -> None:
    case, known = CASES[kind], present.products
    first = present.rows.member_id[0]
    odd = dated(
        pd.DataFrame(
            {"member_id": [first], "product_id": ["never sold before"], "purchase_days": [1],
             "last_days": [1]}
        )
    )  # fmt: skip
    strange = replace(present, products=pd.concat([known, odd], ignore_index=True))

    said = answers(case, fitted[kind], strange)

    sold = set(past.products["product_id"])
    for member, listed in zip(present.rows.member_id, said, strict=True):
        names = {product for product, _ in listed}
        assert names <= sold | ({"never sold before"} if member == first else set())
        assert np.isfinite([score for _, score in listed]).all()
    # A member it never saw, who bought only what it never saw, gets an answer or none.
    alone = replace(present.take(np.array([0])), products=odd)
    assert len(answers(case, fitted[kind], alone)) == 1


@of_rows
def test_a_missing_column_is_named_when_fitting_and_when_asked(
    case: Case, fitted: dict[str, Any], present: World
) -> None:
    kept = present.rows.features[["noise"]]
    poor = replace(present, rows=replace(present.rows, features=kept))

    with pytest.raises(InputRefused, match=r"(recency_days|spend_cents_91d|tenure_days).* missing"):
        answers(case, model_of(case, fitted), poor)


@pytest.mark.parametrize("column", ["member_id", "product_id", "purchase_days", "last_days"])
@pytest.mark.parametrize("kind", [k for k, case in CASES.items() if case.predicts == "products"])
def test_a_product_frame_without_a_column_is_refused(
    kind: str, column: str, fitted: dict[str, Any], present: World
) -> None:
    poor = replace(present, products=present.products.drop(columns=column))

    with pytest.raises(InputRefused, match=column):
        fit(CASES[kind], poor)
    with pytest.raises(InputRefused, match=column):
        answers(CASES[kind], fitted[kind], poor)


@of_rows
def test_an_infinite_feature_is_named(case: Case, fitted: dict[str, Any], present: World) -> None:
    features = present.rows.features.replace({np.nan: np.inf}).assign(spend_cents_91d=np.inf)
    broken = replace(present, rows=replace(present.rows, features=features))

    with pytest.raises(InputRefused, match=r"(recency_days|spend_cents_91d|tenure_days).*infinite"):
        answers(case, model_of(case, fitted), broken)


@every_model
def test_ten_members_are_enough_to_answer(case: Case, past: World, present: World) -> None:
    # Ten that include both outcomes and some spend.
    churned = np.flatnonzero(past.churned == 1)[:5]
    stayed = np.flatnonzero(past.churned == 0)[:5]
    model = fit(case, past.take(np.concatenate([churned, stayed])))

    said = answers(case, model, present)

    assert len(said) == len(present.rows)
    if case.predicts != "products":
        assert np.isfinite(said).all()


@every_model
def test_nobody_to_learn_from_is_refused(case: Case, past: World) -> None:
    with pytest.raises(InputRefused, match="0 rows to fit"):
        fit(case, past.take(np.array([], dtype=int)))


@every_model
def test_nobody_to_answer_for_is_no_answer(
    case: Case, fitted: dict[str, Any], present: World
) -> None:
    assert answers(case, model_of(case, fitted), present.take(np.array([], dtype=int))) == []


@pytest.mark.parametrize("outcome", [0.0, 1.0])
@pytest.mark.parametrize("kind", [k for k, case in CASES.items() if case.predicts == "churn"])
def test_churn_of_all_or_of_none_is_refused(kind: str, outcome: float, past: World) -> None:
    same = replace(past, churned=np.full(len(past.rows), outcome))

    with pytest.raises(InputRefused, match="who churned and members who stayed"):
        fit(CASES[kind], same)


@pytest.mark.parametrize("kind", [k for k, case in CASES.items() if case.predicts == "value"])
def test_a_window_without_any_spend_is_refused_or_taken_for_what_it_is(
    kind: str, past: World, present: World
) -> None:
    # Whoever learns from outcomes must refuse; a rule has nothing to learn from them.
    poor = replace(past, value_cents=np.zeros(len(past.rows)))
    if kind in RULES:
        assert_same(
            answers(CASES[kind], fit(CASES[kind], poor), present),
            answers(CASES[kind], fit(CASES[kind], past), present),
        )
        return

    with pytest.raises(InputRefused, match=r"the value of all \d+ rows is 0"):
        fit(CASES[kind], poor)


@pytest.mark.parametrize("kind", [k for k, case in CASES.items() if case.predicts == "value"])
def test_value_is_never_below_nothing(kind: str, fitted: dict[str, Any], present: World) -> None:
    assert min(answers(CASES[kind], fitted[kind], present)) >= 0


@pytest.mark.parametrize("kind", [k for k, case in CASES.items() if case.predicts == "products"])
def test_one_product_that_everybody_bought_is_no_obstacle(
    kind: str, past: World, present: World
) -> None:
    def bought(known: World) -> World:
        members = list(known.rows.member_id)
        one = pd.DataFrame({"member_id": members, "product_id": "bread", "purchase_days": 2,
                            "last_days": 3})  # fmt: skip
        return replace(known, products=dated(one))

    if kind in NEW_TO_HER:
        with pytest.raises(InputRefused, match="0 first purchases"):
            fit(CASES[kind], bought(past))
        return
    model = fit(CASES[kind], bought(past))

    for listed in answers(CASES[kind], model, bought(present)):
        assert {product for product, _ in listed} <= {"bread"}


@pytest.mark.parametrize("odd", [2.0, np.nan])
def test_an_outcome_that_is_not_0_or_1_is_refused(odd: float, past: World) -> None:
    churned = past.churned.copy()
    churned[3] = odd

    with pytest.raises(InputRefused, match="an outcome is 0 or 1"):
        fit(CASES["lightgbm"], replace(past, churned=churned))


@every_model
def test_nothing_is_pickled(case: Case, fitted: dict[str, Any], tmp_path: Path) -> None:
    model_of(case, fitted).save(tmp_path)

    files = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert {path.suffix for path in files} <= {".json", ".txt", ".npz", ".safetensors"}
    for path in files:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype != object for name in arrays.files)


@every_model
def test_a_changed_file_is_refused(case: Case, fitted: dict[str, Any], tmp_path: Path) -> None:
    model_of(case, fitted).save(tmp_path)
    changed = [path for path in sorted(tmp_path.rglob("*")) if path.suffix not in {"", ".json"}]

    for path in changed:
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        with pytest.raises(ModelRefused, match="not the file that was saved"):
            load_model(tmp_path)
        path.unlink()
        with pytest.raises(ModelRefused, match="no file"):
            load_model(tmp_path)
        path.write_bytes(content)
    load_model(tmp_path)
