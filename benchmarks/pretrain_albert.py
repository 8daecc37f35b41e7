"""Pre-trains a mini-ALBERT on the real texts: `python -m benchmarks.pretrain_albert --folder F`.

    … --folder F --hours 5              plan so many steps as this machine does in that time
    … --folder F                        go on after a stop, to the same weights
    … --folder F --steps 90000          go on with more steps than planned at first
    … --folder F --decay-now            decay and export from the last checkpoint
    … --folder F --weights M --hours 1  a new run that begins with the exported model M

All other options are for new runs only; one that is gone on with keeps its plan.

    ACCELERATE_USE_CPU=1 torchrun --nproc_per_node 2 -m benchmarks.pretrain_albert …

The word vectors start from chapter 02's skip-gram, trained on the same texts: from a random start
the model stays for long at guessing words by their frequency.

The learning rate climbs, stays, and falls to 0 over the last fifth of the steps (as 1 minus a
square root: Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
Durations"). So the run can be ended well at any time, and gone on with from before the decay.
That, and a length set by the clock, is why it is not a call of `training.train`, which plans all
epochs ahead; updates and checkpoints are those of `tutorial_lib.training`.

The folder then holds `plan.json` (all settings), `curve.jsonl` (a line for each 20 steps and each
measurement on held-out texts), the checkpoints, and `model/` (float16, for `hub.load`, with
the measurements of the curve).
"""

import argparse
import dataclasses
import json
import math
import shutil
from pathlib import Path

from benchmarks import pretraining_corpus as corpora
from benchmarks.pretraining_run import Plan, Run, processes, steps_in
from tutorial_lib import hub
from tutorial_lib.albert import AlbertConfig
from tutorial_lib.pretraining import Phase, PretrainConfig
from tutorial_lib.training import TrainConfig


def arguments(line: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretrain_albert")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, help="made by pretraining_corpus.write")
    parser.add_argument("--hours", type=float, help="plan for so long; new runs only")
    parser.add_argument("--steps", type=int, help="instead of hours, or to change the end")
    parser.add_argument("--decay-now", action="store_true")
    parser.add_argument("--weights", type=Path, help="exported model to begin with")
    parser.add_argument("--compile", action="store_true", help="faster; minutes to begin")
    for name, default in (
        ("hidden", 256), ("layers", 6), ("heads", 4), ("embedding", 128), ("vocabulary", 8000),
        ("positions", 512), ("tokens", 8192), ("piece", 64), ("warmup", 1000), ("skip-gram", 3),
        ("save-every", 200), ("measure-every", 1000), ("seed", 0),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.2)
    parser.add_argument(
        "--start",
        type=float,
        help="deviation of the first weights; BERT's 0.02 at width 768, scaled",
    )
    parser.add_argument("--detection-weight", type=float, default=10.0)
    parser.add_argument("--precision", default="auto")
    parser.add_argument(
        "--phases", default="causal:0.2:128 masked:0.3:128 replaced:0.4:128 replaced:0.1:512",
        help="objective:share:length, one after the other",
    )  # fmt: skip
    return parser.parse_args(line)


def planned(options: argparse.Namespace) -> Plan:
    """Return the plan that the command line describes."""
    phases = [phase.split(":") for phase in options.phases.split()]
    config, before = None, None
    if options.weights:
        config = hub.read_config(options.weights / "config.json")
        before = json.loads((options.weights / "training.json").read_text(encoding="utf-8"))
    return Plan(
        config
        or AlbertConfig(
            vocab_size=options.vocabulary, embedding_size=options.embedding,
            hidden_size=options.hidden, num_hidden_layers=options.layers,
            num_attention_heads=options.heads, intermediate_size=4 * options.hidden,
            hidden_act="gelu", classifier_dropout_prob=0.0,
            max_position_embeddings=options.positions,
            # BERT's 0.02 at width 768; narrower sums need larger terms.
            initializer_range=options.start or 0.02 * math.sqrt(768 / options.hidden),
        ),
        PretrainConfig(
            steps=options.steps or 1, tokens=options.tokens, seed=options.seed,
            phases=tuple(Phase(name, float(s), int(length)) for name, s, length in phases),
            detection_weight=options.detection_weight,
        ),
        TrainConfig(lr=options.lr, seed=options.seed, precision=options.precision),
        piece=options.piece, decay=options.decay, warmup=options.warmup,
        skip_gram=0 if options.weights else options.skip_gram, before=before,
        save_every=options.save_every, measure_every=options.measure_every,
    )  # fmt: skip


def main(line: list[str] | None = None) -> Run:
    """Begin or go on with a run as the command line says, to the exported model."""
    options, here = arguments(line), processes()
    folder, path = options.folder, options.folder / "plan.json"
    with here.main_process_first():
        corpus = corpora.read(options.corpus or corpora.prepared(options.vocabulary))
        if options.weights:
            corpus = corpora.renumbered(corpus, hub.load(options.weights).tokenizer)
        if here.is_main_process and not path.exists():
            if not options.steps and not options.hours:
                raise SystemExit("a new run needs --hours or --steps")
            plan = planned(options)
            if not options.steps:
                steps = steps_in(options.hours, Run(plan, corpus, folder))
                plan = dataclasses.replace(plan, text=dataclasses.replace(plan.text, steps=steps))
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dataclasses.asdict(plan), indent=2), encoding="utf-8")
    plan = Plan.load(path)
    run = Run(plan, corpus, folder, compiled=options.compile, weights=options.weights)
    run.load("stable")
    if plan.before and not options.weights:
        raise SystemExit("this run began with a model: name it again with --weights")
    if options.decay_now and not run.state.step:
        raise SystemExit(f"{folder} holds no run yet: there is nothing to decay")
    total = options.steps or plan.text.steps
    stable = round((1 - plan.decay) * total)
    if options.decay_now:
        stable = run.state.step
        total = math.ceil(stable / (1 - plan.decay))
    if run.state.step > stable:
        raise SystemExit(f"the run is at step {run.state.step} already, beyond {stable}")
    run.advance("stable", stable, lambda step: min(1.0, (step + 1) / max(1, plan.warmup)))
    part = f"decay-{stable}"
    if here.is_main_process and not (folder / part).exists():
        shutil.copytree(folder / "stable", folder / "copying", dirs_exist_ok=True)
        (folder / "copying").rename(folder / part)
    run.load(part)
    run.advance(part, total, lambda step: 1 - math.sqrt((step - stable) / (total - stable)))
    run.export(part)
    return run


if __name__ == "__main__":
    main()
