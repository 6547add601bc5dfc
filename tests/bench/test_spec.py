import json
import re
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import RUN, vary

from mugrow.bench.spec import (
    AverageSpec,
    DataSpec,
    HyperSpec,
    ModelSpec,
    Multiplier,
    RunSpec,
    ScheduleSpec,
    Start,
    UserError,
    canonical_json,
    llama,
    run_spec_from_json,
    unknown,
)

OTHER = {  # another valid value of every field
    "model.width": 32,
    "model.depth": 2,
    "model.head_size": 4,
    "model.mlp_ratio": 2,
    "model.context": 16,
    "model.vocab_size": 64,
    "model.norm": "rmsnorm",
    "model.mlp": "swiglu",
    "model.positions": "rope",
    "model.tied": True,
    "model.bias": False,
    "model.kv_heads": 1,
    "model.query_heads": 2,
    "model.mlp_units": 24,
    "model.rope_theta": 1e6,
    "model.rope_scaling": "linear:factor=2",
    "model.rotary_fraction": 0.5,
    "model.position_offset": 2,
    "model.norm_eps": 1e-6,
    "model.qkv_bias": False,
    "model.qk_norm": True,
    "model.parallel": True,
    "model.window": 4,
    "model.padded_vocab": 320,
    "base.width": 16,
    "base.depth": 2,
    "base.head_size": 4,
    "base.mlp_ratio": 2,
    "base.context": 16,
    "base.vocab_size": 64,
    "base.norm": "rmsnorm",
    "base.mlp": "swiglu",
    "base.positions": "rope",
    "base.tied": True,
    "base.bias": False,
    "base.kv_heads": 1,
    "base.query_heads": 2,
    "base.mlp_units": 24,
    "base.rope_theta": 1e6,
    "base.rope_scaling": "linear:factor=2",
    "base.rotary_fraction": 0.5,
    "base.position_offset": 2,
    "base.norm_eps": 1e-6,
    "base.qkv_bias": False,
    "base.qk_norm": True,
    "base.parallel": True,
    "base.window": 4,
    "base.padded_vocab": 320,
    "parametrization": "sp",
    "optimizer": "lion",
    "precision": "bf16",
    "step_ratio": 2.0,
    "hyper.lr": 2**-7,
    "hyper.init_std": 0.2,
    "hyper.weight_decay": 0.2,
    "hyper.beta1": 0.8,
    "hyper.beta2": 0.99,
    "hyper.eps": 1e-9,
    "hyper.modules": (Multiplier("lr.qk", 2.0),),
    "hyper.clip": 2,
    "hyper.decay": "independent",
    "schedule.kind": "cosine",
    "schedule.warmup": 0.1,
    "schedule.cooldown": 0.3,
    "schedule.final": 0.1,
    "schedule.cooldown_shape": "sqrt",
    "data.corpus": "stdlib",
    "data.corpus_sha256": "1",
    "data.tokenizer": "bpe:512",
    "data.val_tokens": 512,
    "data.final_val_tokens": 1024,
    "batch_sequences": 8,
    "steps": 40,
    "seed": 1,
    "data_seed": 1,
    "stop_step": 20,
    "start.method": "szp",
    "start.source_run_id": "0123456789abcdef",
    "start.source_step": 20,
    "start.params": (("shrink", 0.4),),
    "start.optimizer": "carry",
    "start.noise": 0.5,
    "start.reset": True,
    "start.new_rate": 2.0,
    "first_step": 5,
    "rewarm_steps": 5,
    "first_batch": 5,
    "log_every": 10,
    "dtype": "float64",
    "average.kind": "ema",
    "average.window": 25,
    "average.decay": 0.5,
}
STEADY = settings(deadline=None, derandomize=True)
POSITIVE = st.floats(min_value=0, max_value=1e6)
ABOVE_ZERO = st.floats(min_value=1e-6, max_value=1e6)
FRACTION = st.floats(min_value=0, max_value=0.5)
RUNS = st.builds(
    replace,
    st.just(RUN),
    hyper=st.builds(
        HyperSpec,
        lr=POSITIVE,
        init_std=POSITIVE,
        beta1=FRACTION,
        eps=POSITIVE,
        modules=st.dictionaries(st.text(), ABOVE_ZERO).map(lambda each: tuple(each.items())),
    ),
    schedule=st.builds(ScheduleSpec, warmup=FRACTION, cooldown=FRACTION, final=FRACTION),
    seed=st.integers(0, 2**63),
    stop_step=st.none() | st.integers(1, RUN.steps),
    average=st.builds(AverageSpec, kind=st.sampled_from(["none", "ema"]), decay=FRACTION),
    start=st.builds(
        Start,
        source_run_id=st.none() | st.text(),
        source_step=st.none() | st.integers(1),
        params=st.lists(
            st.tuples(
                st.text(), st.integers() | st.floats(allow_nan=False) | st.text() | st.booleans()
            )
        ).map(tuple),
    ),
)


def leaves(spec: object, prefix: str = "") -> list[str]:
    """The dotted name of every field that is not itself a dataclass."""
    names = []
    for field in fields(spec):
        value = getattr(spec, field.name)
        name = prefix + field.name
        names += leaves(value, name + ".") if is_dataclass(value) else [name]
    return names


def changed(spec: RunSpec, name: str) -> RunSpec:
    *group, field = name.split(".")
    if not group:
        return replace(spec, **{field: OTHER[name]})
    return replace(spec, **{group[0]: replace(getattr(spec, group[0]), **{field: OTHER[name]})})


@pytest.mark.parametrize("name", leaves(RUN))
def test_every_field_is_part_of_identity(name):
    run = replace(RUN, start=Start(optimizer="carry")) if name == "start.reset" else RUN
    assert changed(run, name).run_id != run.run_id


@STEADY
@given(RUNS)
def test_json_gives_the_spec_and_its_identity_back(spec):
    text = canonical_json(spec)
    again = run_spec_from_json(text)
    assert again == spec
    assert canonical_json(again) == text
    assert again.run_id == spec.run_id


def test_whole_numbers_are_the_same_identity_as_int_and_float():
    ints = vary(weight_decay=1, clip=2, eps=0, schedule=ScheduleSpec(warmup=0, cooldown=1))
    floats = vary(
        weight_decay=1.0, clip=2.0, eps=0.0, schedule=ScheduleSpec(warmup=0.0, cooldown=1.0)
    )
    assert ints.run_id == floats.run_id
    assert vary(eps=-0.0).run_id == vary(eps=0).run_id
    assert (
        replace(RUN, model=replace(RUN.model, mlp_ratio=2)).run_id
        == replace(RUN, model=replace(RUN.model, mlp_ratio=2.0)).run_id
    )


def test_neither_the_order_of_fields_in_a_file_nor_that_in_the_source_matters():
    text = canonical_json(RUN)
    backwards = json.dumps(dict(reversed(json.loads(text).items())))
    assert run_spec_from_json(backwards).run_id == RUN.run_id
    for group in (json.loads(text), json.loads(text)["hyper"]):
        assert list(group) == sorted(group)
    assert re.fullmatch("[0-9a-f]{16}", RUN.run_id)


def test_a_field_that_an_older_spec_does_not_have_renames_no_run():
    fields = json.loads(canonical_json(RUN))
    for name in ("rewarm_steps", "stop_step", "start", "average"):
        del fields[name]
    del fields["model"]["tied"], fields["model"]["kv_heads"], fields["hyper"]["beta1"]
    older = run_spec_from_json(json.dumps(fields | {"start": {"params": []}}))
    assert (older, older.run_id) == (RUN, RUN.run_id)


def test_no_default_has_changed():
    """A default that changes renames every run there is: this fails, and should."""
    assert RUN.run_id == "f4db5776503e4880"


def test_json_with_unknown_or_missing_fields_is_refused():
    text = canonical_json(RUN)
    for old, new, said in [
        ('"seed":', '"speed":', "spec lacks the field 'seed'"),
        ('"lr":', '"rate":', "spec.hyper lacks the field 'lr'"),
        ('"seed":', '"age":1,"seed":', "spec has a field 'age' that this version does not know"),
        ('"width":16', '"width":"16"', "width is '16', not a whole number"),
        ('"tied":false', '"tied":0', "spec.base.tied is 0, not true or false"),
        ('"norm":"layernorm"', '"norm":"batch"', "'batch', not one of layernorm, rmsnorm"),
        ('"params":[]', '"params":{"a":1}', "spec.start.params is {'a': 1}, not a list of names"),
        ('"kv_heads":null', '"kv_heads":"2"', "kv_heads is '2', not a whole number"),
        ("{", "", "the spec is not JSON"),
    ]:
        assert old in text
        with pytest.raises(UserError, match=re.escape(said)):
            run_spec_from_json(text.replace(old, new, 1))


def test_derived_sizes():
    model = ModelSpec(width=48, depth=1, head_size=16, mlp_ratio=2.5)
    assert (model.heads, model.mlp_width) == (3, 120)
    assert (RUN.last_step, RUN.batch_tokens, RUN.tokens) == (20, 32, 640)
    assert (vary(stop_step=15).last_step, vary(stop_step=15).tokens) == (15, 480)
    assert (vary(first_step=5).train_steps, vary(first_step=5).tokens) == (15, 480)
    assert RUN.name == "mup-w16-d1-scratch-lr2^-6-init0.1-s0"


def test_llama_flavour_leaves_the_other_fields_to_the_caller():
    spec = llama(width=32, depth=2, tied=True)
    assert (spec.norm, spec.mlp, spec.positions, spec.bias) == ("rmsnorm", "swiglu", "rope", False)
    assert spec.tied
    assert spec.width == 32


@pytest.mark.parametrize(
    ("build", "value", "nearest"),
    [
        (lambda: ModelSpec(width=0, depth=1), "0", "at least 1"),
        (lambda: ModelSpec(width=-16, depth=1), "-16", "at least 1"),
        (lambda: ModelSpec(width=16, depth=0), "0", "at least 1"),
        (lambda: ModelSpec(width=50, depth=1), "50", "48"),
        (lambda: ModelSpec(width=60, depth=1), "60", "64"),
        (lambda: ModelSpec(width=3, depth=1), "3", "16"),
        (lambda: ModelSpec(width=16, depth=1, mlp_ratio=0.3), "0.3", "whole number"),
        (lambda: ModelSpec(width=16, depth=1, mlp_ratio=-1), "-1", "above 0"),
        (lambda: ModelSpec(width=15, depth=1, head_size=5, positions="rope"), "5", "even"),
        (lambda: ModelSpec(width=16, depth=1, norm="rmnorm"), "rmnorm", "rmsnorm"),
        (lambda: ModelSpec(width=16, depth=1, mlp="swigu"), "swigu", "swiglu"),
        (lambda: ModelSpec(width=16, depth=1, positions="ropes"), "ropes", "rope"),
        (lambda: ModelSpec(width=16, depth=1, mlp="gelu_tan"), "gelu_tan", "gelu_tanh"),
        (lambda: ModelSpec(width=16, depth=1, query_heads=0), "0", "at least 1"),
        (lambda: ModelSpec(width=16, depth=1, query_heads=4, kv_heads=3), "3", "does: 2"),
        (lambda: ModelSpec(width=16, depth=1, mlp_units=0), "0", "at least 1"),
        (lambda: ModelSpec(width=16, depth=1, window=0), "0", "at least 1"),
        (lambda: ModelSpec(width=16, depth=1, rope_theta=0), "0", "finite number above 0"),
        (lambda: ModelSpec(width=16, depth=1, norm_eps=-1), "-1", "finite number above 0"),
        (lambda: ModelSpec(width=16, depth=1, rotary_fraction=1.5), "1.5", "at most 1"),
        (lambda: llama(width=16, depth=1, rotary_fraction=0.2), "3 of 16", "even"),
        (lambda: llama(width=16, depth=1, rotary_fraction=0.01), "0 of 16", "even"),
        (lambda: ModelSpec(width=16, depth=1, position_offset=-1), "-1", "at least 0"),
        (lambda: ModelSpec(width=16, depth=1, padded_vocab=255), "255", "256"),
        (lambda: llama(width=16, depth=1, rope_scaling="yarn"), "yarn", "linear"),
        (lambda: llama(width=16, depth=1, rope_scaling="linear"), "linear", "factor=NUMBER"),
        (lambda: llama(width=16, depth=1, rope_scaling="linear:factor=a"), "=a", "factor=NUMBER"),
        (lambda: llama(width=16, depth=1, rope_scaling="linear:factor=-2"), "-2", "=NUMBER"),
        (
            lambda: llama(
                width=16, depth=1, rope_scaling="llama3:factor=8:low=4:high=1:context=64"
            ),
            "low=4",
            "below high",
        ),
        (lambda: HyperSpec(lr=-1, init_std=1), "-1", "at least 0"),
        (lambda: HyperSpec(lr=float("nan"), init_std=1), "nan", "finite"),
        (lambda: HyperSpec(lr=float("inf"), init_std=1), "inf", "finite"),
        (lambda: HyperSpec(lr=1, init_std=1, beta2=1), "1", "below 1"),
        (lambda: ScheduleSpec(kind="cosin"), "cosin", "cosine"),
        (lambda: ScheduleSpec(warmup=5), "5", "between 0 and 1"),
        (lambda: ScheduleSpec(warmup=0.7, cooldown=0.5), "0.7", "together above 1"),
        (lambda: ScheduleSpec(cooldown_shape="sqr"), "sqr", "sqrt"),
        (lambda: AverageSpec(kind="emma"), "emma", "ema"),
        (lambda: AverageSpec(window=0), "0", "at least 1"),
        (lambda: AverageSpec(decay=1), "1", "below 1"),
        (lambda: vary(average=AverageSpec(kind="swa", window=7)), "7", "multiple of log_every 5"),
        (lambda: vary(steps=0), "0", "at least 1"),
        (lambda: vary(batch_sequences=-4), "-4", "at least 1"),
        (lambda: vary(log_every=0), "0", "at least 1"),
        (lambda: vary(stop_step=21), "21", "20 steps"),
        (lambda: vary(dtype="float16"), "float16", "float64"),
        (lambda: vary(stop_step=0), "0", "20 steps"),
        (lambda: vary(first_step=20), "20", "below the last, 20"),
        (lambda: vary(stop_step=8, first_step=9), "9", "below the last, 8"),
        (lambda: vary(first_batch=-1), "-1", "at least 0"),
        (lambda: Start(optimizer="crary"), "crary", "carry"),
        (lambda: Start(noise=-0.5), "-0.5", "at least 0"),
        (lambda: Start(reset=True), "reset", "optimizer=fresh"),
    ],
)
def test_a_wrong_value_is_named_with_the_nearest_right_one(build, value, nearest):
    with pytest.raises(UserError) as error:
        build()
    assert value in str(error.value)
    assert nearest in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_names_the_nearest_or_else_all():
    assert "did you mean 'szp'" in str(unknown("method", "szpp", ["scratch", "szp"]))
    assert "there are: scratch, szp" in str(unknown("method", "qqqq", ["szp", "scratch"]))


def test_specs_cannot_be_changed():
    with pytest.raises(AttributeError):
        RUN.hyper.lr = 1.0
    with pytest.raises(AttributeError):
        DataSpec(corpus="a", corpus_sha256="b").corpus = "c"


def test_heads_of_keys_and_values_are_as_many_as_heads_unless_they_are_given():
    full, grouped = ModelSpec(width=64, depth=1), ModelSpec(width=64, depth=1, kv_heads=2)
    assert (full.heads, full.groups, full.group_size, full.kv_width) == (4, 4, 1, 64)
    assert (grouped.heads, grouped.groups, grouped.group_size, grouped.kv_width) == (4, 2, 2, 32)
    assert replace(grouped, width=128).groups == 2  # the same at every width


@pytest.mark.parametrize(("kv_heads", "nearest"), [(0, 1), (3, 2), (5, 4), (-1, 1), (64, 8)])
def test_heads_of_keys_and_values_divide_the_heads(kv_heads, nearest):
    with pytest.raises(UserError, match=f"kv_heads {kv_heads} does not .* 8 heads .*: {nearest}$"):
        ModelSpec(width=128, depth=1, kv_heads=kv_heads)


def test_heads_and_mlp_may_have_numbers_of_their_own():
    model = ModelSpec(width=20, depth=1, head_size=16, query_heads=4, kv_heads=2, mlp_units=30)
    assert (model.heads, model.attention_width, model.kv_width, model.mlp_width) == (4, 64, 32, 30)
    wider = replace(model, width=40)
    assert (wider.heads, wider.mlp_width) == (4, 30)


def test_biases_of_queries_keys_and_values_follow_the_others_unless_they_are_given():
    assert [ModelSpec(width=16, depth=1, bias=bias).biased_qkv for bias in (True, False)] == [1, 0]
    assert llama(width=16, depth=1, qkv_bias=True).biased_qkv
    assert not ModelSpec(width=16, depth=1, qkv_bias=False).biased_qkv
