"""What stands on the page "From Python", as one program: run it in a checkout's root.

What trains starts processes, which import this file again: hence the last line but one.
"""

# --8<-- [start:load]
import json
import tempfile
from pathlib import Path

import pandas as pd

import mugrow

folder = Path(tempfile.mkdtemp())  # what is written here goes there
store = mugrow.load("results/reference/quick")
targets: pd.DataFrame = store.runs[store.runs["role"] == "target"]
print(targets.groupby("method")["final_val_loss"].mean())
# --8<-- [end:load]

# --8<-- [start:spec]
from mugrow.bench.spec import run_spec_from_json  # noqa: E402

spec: mugrow.RunSpec = run_spec_from_json(targets["spec"].iloc[-1])
print(spec.run_id, spec.model.width, spec.start.method)
# --8<-- [end:spec]

# --8<-- [start:summarize]
summary: mugrow.Summary = mugrow.summarize(store)
for final in summary.finals:
    loss: mugrow.Interval = final.loss
    print(f"{final.label}: {loss.value:.3f} ({loss.lo:.3f} to {loss.hi:.3f}, {loss.n} seeds)")
for row in summary.equal_compute:
    for versus in row.versus:
        print(f"{row.label} minus {versus.baseline}: {versus.difference} ({versus.verdict})")
saving = summary.headlines("w64-d2")["hypercloning", "source"].saving
print(saving)
# --8<-- [end:summarize]

# --8<-- [start:transfer]
for ladder in mugrow.transfer(store).ladders:
    print(ladder.parametrization, ladder.verdict.word, ladder.drift)
# --8<-- [end:transfer]

# --8<-- [start:savings]
methods = store.runs[["run_id", "method", "seed"]].rename(columns={"method": "arm"})
logs = store.curves.merge(methods[methods["run_id"].isin(targets["run_id"])], on="run_id")
logs.to_csv(folder / "logs.csv")
understood = mugrow.read(folder / "logs.csv", run="arm", x="flops", loss="val_loss", seeds="seed")
print(understood.kind, [(one.label, one.points) for one in understood.runs], understood.notes)
print(mugrow.read_table(folder / "logs.csv").frame.shape)
for found in mugrow.savings(
    folder / "logs.csv",
    run="arm",
    x="flops",
    loss="val_loss",
    seeds="seed",
    baseline="scratch",
    source_cost=float(targets["flops_source"].max()),
):
    print(found.method, found.accounting, found.state, f"{found.speedup:.2f}")
lengths = logs[logs["arm"] == "scratch"]
halves = lengths[lengths["step"] <= lengths["step"].max() / 2].assign(length="half")
whole = pd.concat([halves, logs.assign(length="whole")])
whole.to_csv(folder / "lengths.csv")
for arm in mugrow.equal_compute(
    folder / "lengths.csv",
    run="arm",
    x="flops",
    loss="val_loss",
    baseline="scratch",
    length="length",
    seeds="seed",
):
    print(arm.method, arm.state, f"{arm.difference:.3f}")
# --8<-- [end:savings]

# --8<-- [start:fit]
sizes = [(n, d) for n in (1e6, 4e6, 16e6, 64e6, 256e6) for d in (1e8, 1e9, 1e10)]
runs = pd.DataFrame(sizes, columns=["params", "tokens"])
runs["loss"] = 1.7 + 406 / runs["params"] ** 0.34 + 411 / runs["tokens"] ** 0.28

law = mugrow.fit(runs, "chinchilla", loss="loss", n="params", d="tokens").fit
print(law.status, {name: round(value, 2) for name, value in law.params.items()})

runs.to_csv(folder / "runs.csv")
for error in mugrow.extrapolate(folder / "runs.csv", n="params", d="tokens", loss="loss"):
    print(f"{error.fitted}: {error.mean.value:.1f} %")
# --8<-- [end:fit]

# --8<-- [start:advise]
question = mugrow.Question(params=1e9, tokens=20e9, source_params=1e8, source_tokens=2e9)
advice = mugrow.advise(question)
print(advice.verdict, "since", advice.rule)
nearby = mugrow.advise(mugrow.Question(params=4e5, tokens=3e5), store)
print(nearby.verdict, "since", nearby.rule)
# --8<-- [end:advise]

# --8<-- [start:draw]
figure = mugrow.draw("savings", store)  # a matplotlib.figure.Figure
figure.set_size_inches(8, 4)
figure.savefig(folder / "savings.pdf")
print([row["name"] for row in mugrow.listing("figures")][:5])
# --8<-- [end:draw]

# --8<-- [start:compare]
both = mugrow.compare(store, store.first_seeds(2), names=["three seeds", "two seeds"])
for one in both.arms:
    print(one.target, one.study, one.label, one.verdict)
# --8<-- [end:compare]

# --8<-- [start:error]
try:
    mugrow.recipe("quikc")
except mugrow.UserError as mistake:
    print(mistake)
# --8<-- [end:error]

if __name__ == "__main__":
    # --8<-- [start:study]
    from mugrow.bench.spec import ModelSpec
    from mugrow.sweeps.study import Step

    text = folder / "words.txt"
    text.write_text("\n\n".join(f"{number} squared is {number**2}" for number in range(3000)))
    study = mugrow.Study(
        name="tiny",
        title="Growing by two methods",
        question="Which of them ends lower?",
        corpus=str(text),
        model=ModelSpec(width=16, depth=1, head_size=16, context=16, positions="rope"),
        parametrizations=("mup",),
        proxy_widths=(16, 32),
        log2_lr=(-9.0, -7.0, -5.0),
        init_std=(0.1,),
        batch_sequences=2,
        log_every=2,
        val_tokens=256,
        seeds=(0, 1),
        proxy_steps=6,
        source_steps=10,
        target_steps=10,
        ladder=(Step(16, 1, 32, 1),),
        methods=(mugrow.Method("scratch"), mugrow.Method("szp", params=(("shrink", 0.5),))),
    )
    bill = mugrow.bill(study, folder / "tiny")
    print(len(bill.runs), "runs,", f"{bill.flops:.2g} FLOPs, {bill.estimated_s:.0f} s")
    # --8<-- [end:study]

    # --8<-- [start:run]
    finished = mugrow.run(study, folder / "tiny", workers=1)
    print(finished.page, "of", len(finished.store().runs), "runs")
    losses = mugrow.summarize(finished.store()).finals
    print({final.label: round(final.loss.value, 2) for final in losses})
    page = mugrow.report(folder / "tiny")  # as `run` has written it already
    # --8<-- [end:run]

    # --8<-- [start:watch]
    print(mugrow.watch(folder / "tiny").studies[0].runs)
    # --8<-- [end:watch]

    # --8<-- [start:grow]
    rows = finished.store().runs
    source = rows[rows["role"] == "source"]["run_id"].iloc[0]
    grown = mugrow.grow(folder / "tiny" / source, folder / "wide", "hypercloning", width=32)
    print(grown.target_shape, "breaks:", grown.breaks, "measured:", grown.logit_error)
    # --8<-- [end:grow]

    # --8<-- [start:publish]
    published = mugrow.export_model(folder / "wide", folder / "wide-hf")
    imported = mugrow.import_model(folder / "wide-hf", folder / "wide-again")
    print(published.family, imported.family)
    # --8<-- [end:publish]

    # --8<-- [start:verify]
    print(mugrow.verify(folder / "tiny").damage)
    # --8<-- [end:verify]

    # --8<-- [start:check]
    results = mugrow.check(["stack"], full=False)
    print({result.status for result in results}, "in", len(results), "cases")

    modules = mugrow.coordcheck("mup", "sp", widths=[16, 32], base=16, seeds=[0, 1], steps=1)
    print({row.module for row in modules if row.verdict == "fail"})
    # --8<-- [end:check]

    # --8<-- [start:paper]
    from collections.abc import Iterator
    from dataclasses import replace

    from matplotlib.figure import Figure

    from mugrow.analysis.measure.claims import claim
    from mugrow.analysis.measure.quantity import final as final_loss
    from mugrow.bench.arm import ArmName
    from mugrow.bench.spec import DataSpec, HyperSpec, RunSpec, ScheduleSpec
    from mugrow.sweeps.graph import Node
    from mugrow.sweeps.paper import PaperFigure, Setting, Text

    SHORT, LONG = ArmName("short", steps=6), ArmName("long", steps=20)

    def base(data: DataSpec, vocabulary: int) -> RunSpec:
        model = ModelSpec(width=16, depth=1, head_size=16, context=16, vocab_size=vocabulary)
        return RunSpec(
            model=model,
            base=model,
            parametrization="mup",
            hyper=HyperSpec(lr=0.01, init_std=0.1),
            schedule=ScheduleSpec(),
            data=data,
            batch_sequences=2,
            steps=6,
            log_every=2,
            seed=0,
            data_seed=0,
        )

    def arms(setting: Setting) -> Iterator[Node]:
        for seed in (0, 1):
            run = setting.spec(seed)
            yield Node(run, SHORT)
            yield Node(replace(run, steps=20), LONG)

    def losses_by_arm(store: mugrow.Store) -> Figure:
        figure = Figure()
        figure.subplots().plot(store.runs["arm"], store.runs["final_val_loss"], "o")
        return figure

    holds = claim(
        "longer-is-better",
        "more steps end lower",
        "section 1",
        "final loss of the long runs minus that of the short, nats",
        final_loss(LONG) - final_loss(SHORT) < 0,
    )
    paper = mugrow.Paper(
        name="own",
        arxiv="0000.00000",
        title="On training longer",
        summary="longer runs end lower",
        bases={"cpu": base},
        corpora={"text": {"cpu": Text(str(text), val_tokens=256)}},
        figures={"F1": PaperFigure("Losses", "A point a run.", arms, losses_by_arm, (holds,))},
    )
    reproduced = mugrow.reproduce(paper, folder / "papers", workers=1)
    for line in reproduced.ledger:
        print(line.claim, line.verdict, f"{line.value:.3f} ({line.low:.3f} to {line.high:.3f})")
    # --8<-- [end:paper]

    # --8<-- [start:json]
    from mugrow.analysis.read.plain import to_json

    print(json.dumps(to_json(advice.target)))  # as `--json` prints it, nan as null
    # --8<-- [end:json]
