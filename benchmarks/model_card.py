"""The card of a model that `pretrain_albert` has trained: what it is, and what it read."""

from typing import Any


def card(facts: dict[str, Any], record: dict[str, Any]) -> str:
    """Return the model card."""
    plan, read = facts["plan"], record.get("read", {})
    held = next(iter(facts["held-out texts"].values()))  # of the shortest rows
    sizes, text = plan["albert"], plan["text"]
    sources = ", ".join(name for name in read if name != "total") or "see overlap.json"
    rows, read_in_all = {}, 0
    for part, name in ((plan.get("before"), "first run"), (facts, "run")):
        if part:
            config, where = part["plan"]["text"], part["environment"]
            phases = "; ".join(
                f"{p['objective']} ({p['share']:.0%} of {config['steps']:,} planned steps, rows of "
                f"{p['length']})"
                for p in config["phases"]
            )
            rows[name] = (
                f"{part['steps']:,} steps of {config['tokens']:,} tokens, {part['tokens']:,} in "
                f"all: {phases}; {part['seconds'] / 3600:.1f} hours, {part['processes']} processes "
                f"on {where['device_name']}, {where['precision']}"
            )
            read_in_all += part["tokens"]
    rows |= {
        "texts": f"{record['tokens']['tokens']:,} tokens, so each read about "
        f"{read_in_all / record['tokens']['tokens']:.1f} times",
        "loss of hidden words, held-out texts": "; ".join(
            f"{found['words_nats']:.3f} nats in rows of {length}"
            for length, found in facts["held-out texts"].items()
        ),
        "order of two stretches": f"{held['order_accuracy']:.1%} right of {held['order_pairs']:.0f}"
        " pairs, 50 % by chance",
    }
    if any(p["objective"] == "replaced" for p in text["phases"]):
        right, none = held["detection_accuracy"], 1 - held["replaced_share"]
        rows["replaced tokens"] = f"{right:.1%} right, {none:.1%} by saying that none was"
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""---
language: en
license: other
library_name: transformers
---
# A mini-ALBERT

For teaching: small enough to be fine-tuned on a processor, trained on few texts. Width
{sizes["hidden_size"]}, {sizes["num_hidden_layers"]} layers that share their weights, a vocabulary
of {sizes["vocab_size"]} pieces of words, lower case, English. `model.safetensors` is in float16.

| | |
|---|---|
{table}

**Texts**: {sources}; training parts only, without what shares 8 words in a row with a text that
the book scores models on, or holds the whole of a shorter one of 4 words or more (`overlap.json`
has the rule and the counts). Their publishers' terms apply: some allow research only.

**Limits**: texts of at most {max(p["length"] for p in text["phases"])} tokens, as long as the
rows of its training; reviews of films and goods, news, text messages and posts to discussion groups
of the 1990s and 2000s, with their prejudices; no text after them; nothing but English. It predicts
pieces of words badly by the standard of models a hundred times its size. Do not use it
to judge people.

All settings and measurements: `training.json`.
"""
