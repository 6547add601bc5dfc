import json
import subprocess
import sys
from dataclasses import replace

import pytest
from fake_runs import STUDY

from mugrow.bench.spec import FixedHyper, Multiplier, UserError, canonical_json
from mugrow.sweeps.override import override
from mugrow.sweeps.study import Method, Rung, Step, Variant


def test_a_study_and_its_recipes_import_nothing_heavy():
    code = (
        "import sys, mugrow.sweeps.override; from mugrow.sweeps.recipes import RECIPES, recipe\n"
        "[recipe(name) for name in RECIPES]\n"
        "print({'torch', 'optuna', 'pandas', 'numpy', 'pyarrow'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_a_study_is_hashable_and_has_one_json_text():
    assert hash(STUDY) == hash(replace(STUDY))
    fields = json.loads(canonical_json(STUDY))
    assert fields["ladder"][0]["target_width"] == 128
    assert fields["model"]["width"] == 32


def test_the_base_initial_scale_is_the_middle_one():
    assert STUDY.base_init_std == 0.04
    assert replace(STUDY, init_std=(0.02, 0.04)).base_init_std == 0.04


def test_heads_grow_in_number_or_in_size():
    assert STUDY.shape(128, 2).heads == 8
    growing = replace(STUDY, growing_heads=True)
    assert (growing.shape(128, 2).heads, growing.shape(128, 2).head_size) == (2, 64)
    assert growing.shape(32, 2) == STUDY.model


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"token_factors": (0.0,)}, "token_factors and batch_factors are multiples above 0"),
        ({"batch_factors": (3,)}, "proxy_steps 100 .* batch factor 3 is not a whole number"),
        ({"proxy_depths": (4, 4)}, "proxy_depths holds 4 twice"),
        ({"proxy_depths": (0,)}, "depth must be at least 1, not 0"),
        ({"variants": (Variant("a", ()), Variant("a", ()))}, "variants holds a twice"),
        ({"methods": (Method("scratch", sweep=True),)}, "needs target_log2_lr, which is empty"),
    ],
)
def test_proxies_that_cannot_be_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        replace(STUDY, **fields)


NAN = float("nan")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target_steps": 2.5}, "target_steps must be a whole number, not 2.5"),
        ({"target_steps": "500"}, "target_steps must be a whole number, not '500'"),
        ({"trials": True}, "trials must be a whole number, not True"),
        ({"error_rate": NAN}, "error_rate must be a finite number, not nan"),
        ({"budgets": (1.0, NAN)}, "budgets must be a finite number, not nan"),
        ({"log2_lr": (-8.0, "-7")}, "log2_lr must be a finite number, not '-7'; the nearest is -7"),
        ({"seeds": [0, 1]}, r"seeds must be a tuple, not \[0, 1\]; write \(0, 1\)"),
        ({"proxy_widths": 32}, r"proxy_widths must be a tuple, not 32; write \(32,\)"),
        ({"growing_heads": 1}, "growing_heads must be True or False, not 1"),
        ({"title": None}, "title must be text, not None"),
        ({"ladder": ((64, 2, 128, 2),)}, r"ladder must be a Step, not \(64, 2, 128, 2\)"),
        ({"ladder": (Step(64, 2, 128.0, 2),)}, "ladder.target_width must be a whole number, not"),
        ({"model": "w32"}, "model must be a ModelSpec, not 'w32'"),
        ({"schedule": "wsd"}, "schedule must be a ScheduleSpec, not 'wsd'"),
        ({"rungs": (Rung(NAN, 0.5),)}, "rungs.at must be a finite number, not nan"),
    ],
)
def test_a_value_that_is_not_of_its_fields_type_is_one_line(fields, message):
    with pytest.raises(UserError, match=message) as error:
        replace(STUDY, **fields)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rho": "2"}, "rho must be a finite number, not '2'"),
        ({"noise": NAN}, "noise must be a finite number, not nan"),
        ({"params": {"shrink": 0.4}}, "params must be a tuple, not {'shrink': 0.4}"),
    ],
)
def test_so_is_a_methods(given, message):
    with pytest.raises(UserError, match=message):
        Method("szp", **given)


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("title=A new title", "title", "A new title"),
        ("seeds=3", "seeds", (3,)),
        ("seeds=0, 1, 2", "seeds", (0, 1, 2)),
        ("log2_lr=-9,-8.5,-8", "log2_lr", (-9.0, -8.5, -8.0)),
        ("parametrizations=mup", "parametrizations", ("mup",)),
        ("sampler=gp", "sampler", "gp"),
        ("proxy_steps=7", "proxy_steps", 7),
        ("rungs=0.25:0.5,0.5:0.25", "rungs", (Rung(0.25, 0.5), Rung(0.5, 0.25))),
        ("rungs=", "rungs", ()),
        ("ladder=64:2:128:2,64:2:64:4", "ladder", (Step(64, 2, 128, 2), Step(64, 2, 64, 4))),
        (
            "methods=scratch,szp:shrink=0.2:perturb=1,stack",
            "methods",
            (Method("scratch"), Method("szp", (("shrink", 0.2), ("perturb", 1))), Method("stack")),
        ),
        ("target_log2_lr=-1,0,1", "target_log2_lr", (-1.0, 0.0, 1.0)),
        (
            "variants=tied:model.tied=true,frozen:parametrizations=mup:gains=frozen",
            "variants",
            (
                Variant("tied", ("model.tied=true",)),
                Variant("frozen", ("parametrizations=mup:gains=frozen",)),
            ),
        ),
        ("hyper.weight_decay=0", "hyper", FixedHyper(weight_decay=0.0)),
        (
            "hyper.modules=lr.qk:2,eps.head:1",
            "hyper",
            FixedHyper(modules=(Multiplier("lr.qk", 2.0),)),
        ),
        ("model.depth=4", "model", replace(STUDY.model, depth=4)),
        ("model.tied=true", "model", replace(STUDY.model, tied=True)),
        ("model.kv_heads=1", "model", replace(STUDY.model, kv_heads=1)),
        ("model.kv_heads=none", "model", STUDY.model),
        ("model.norm=rmsnorm", "model", replace(STUDY.model, norm="rmsnorm")),
        ("schedule.kind=cosine", "schedule", replace(STUDY.schedule, kind="cosine")),
    ],
)
def test_override(assignment, key, value):
    assert override(STUDY, [assignment]) == replace(STUDY, **{key: value})


def test_overrides_that_are_right_only_together():
    widths = ["proxy_widths=64,128", "model.width=64", "model.head_size=32", "ladder=64:2:128:2"]
    for order in (widths, widths[::-1]):
        study = override(STUDY, order)
        assert (study.model.width, study.model.head_size) == (64, 32)
    assert override(STUDY, []) == STUDY
    with pytest.raises(UserError, match="trials is given twice: '3' and '4'"):
        override(STUDY, ["trials=3", "trials=4"])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("sedes=1", "unknown setting 'sedes'; did you mean 'seeds'?"),
        ("model.dpeth=1", "unknown setting 'model.dpeth'; did you mean 'model.depth'?"),
        ("model=1", "unknown setting 'model'"),
        ("seeds", "of the form key=value, not 'seeds'"),
        ("seeds=", "seeds must name at least one, not none"),
        ("seeds=1,1", "seeds holds 1 twice"),
        ("seeds=-1", "seeds must be at least 0, not -1"),
        ("seeds=one", "seeds must be a whole number, not 'one'"),
        ("seeds=1,,2", "seeds must be a whole number, not ''"),
        ("trials=2.5", "trials must be a whole number, not '2.5'"),
        ("hyper.weight_decay=lots", "hyper.weight_decay must be a finite number, not 'lots'"),
        ("hyper.weight_decay=nan", "hyper.weight_decay must be a finite number, not 'nan'"),
        ("hyper.modules=lr.qk", "hyper.modules is made of name:times, not 'lr.qk'"),
        ("hyper.modules=lr.qk:0", "lr.qk must be a finite number above 0, not 0.0"),
        ("hyper.modules=lr.qk:2,lr.qk:3", "modules holds 'lr.qk' twice"),
        ("hyper.beta1=1", "beta1 must be below 1, not 1.0"),
        ("model.tied=maybe", "model.tied must be true or false, not 'maybe'"),
        ("model.norm=batchnorm", "unknown norm 'batchnorm'"),
        ("sampler=gird", "unknown sampler 'gird'; did you mean 'grid'?"),
        ("proxy_widths=32,-64", "width must be at least 1, not -64"),
        ("proxy_widths=32,0", "width must be at least 1, not 0"),
        ("proxy_widths=32,40", "width 40 is not a multiple of head_size 16"),
        ("proxy_widths=64,128", "model.width is that of the smallest proxy, 64"),
        ("ladder=64:2:130:2", "width 130 is not a multiple of head_size 16"),
        ("ladder=64:2:128", "ladder is made of source_width:source_depth:target_width"),
        ("log2_lr=-5,-6", "log2_lr must ascend, unlike -5.0, -6.0"),
        ("init_std=0.02,0", "init_std must be a finite number above 0, not 0.0"),
        ("rungs=0.5", "rungs is made of at:keep, not '0.5'"),
        ("rungs=1:0.5", "a rung is two fractions"),
        ("rungs=0.5:0", "a rung is two fractions"),
        ("methods=szp", "methods must begin with 'scratch', the baseline, not 'szp'"),
        ("methods=scratch,szp,szp", "methods holds szp twice"),
        ("methods=scratch,szp:schedule=contine", "unknown schedule of a method 'contine'; did you"),
        ("methods=scratch,szp:optimizer=kept", "unknown optimizer state 'kept'"),
        ("methods=scratch,szp:reset=true", "reset clears carried moments"),
        ("methods=scratch,szp:noise=-1", "noise must be a finite number, at least 0, not -1.0"),
        ("methods=scratch,szp:schedule=rewarm", "method 'szp' with schedule=rewarm needs rewarm"),
        ("methods=scratch,szp:rho=0.5", "rho of method 'szp' must be at least 1, not 0.5"),
        (
            "methods=scratch,szp:0.2",
            "behind method 'szp' go parameters as PARAMETER=VALUE, not '0.2'",
        ),
        ("target_steps=0", "target_steps must be at least 1, not 0"),
        ("stack_width=0", "stack_width must be at least 1, not 0"),
        ("schedule.warmup=0.9", "overlap"),
        ("log2_lr=1e308", "log2_lr must be between -1000 and 1000, target_log2_lr added, not 1e+"),
        ("target_log2_lr=-1e308", "target_log2_lr added, not -1e+308"),
        (f"batch_factors={'1' * 400}", "batch_factors must be a whole number, not '1111"),
        (f"token_factors={'1' * 400}", "token_factors must be a finite number, not '1111"),
        ("budgets=1,1e308", "1e+308"),
        ("name=", "name must be one of a folder in results, not ''; the nearest that is: mine"),
        ("name=../../x", "not '../../x'; the nearest that is: x"),
        ("name=a\nb", r"not 'a\nb'; the nearest that is: a-b"),
        ("name=a\udc80", r"not 'a\udc80'; the nearest that is: a"),
        ("title=a\udc80", r"title 'a\udc80' is no text: surrogates not allowed"),
        ("variants=a\x1b:seeds=1", r"a variant's name has control characters: 'a\x1b'"),
    ],
)
def test_a_wrong_setting_is_one_line_naming_it(assignment, message):
    with pytest.raises(UserError) as error:
        override(STUDY, [assignment])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
