"""The words by which prose is judged: what gives a reason, and how topics are named.

The vocabulary is English. `Vocabulary.also` adds the words of another language or of a project; the
rules of section 14 take them from their options.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Vocabulary(NamedTuple):
    """Words to recognise something by: a pattern, and words that a project's configuration adds."""

    pattern: re.Pattern[str]
    extra: tuple[str, ...] = ()

    def found(self, text: str) -> bool:
        """Whether one of the words occurs in `text`."""
        if self.pattern.search(text):
            return True
        lowered = text.lower()
        return any(word.lower() in lowered for word in self.extra)

    def also(self, words: Iterable[str]) -> Vocabulary:
        """The same with further words, matched anywhere and without regard to case."""
        return Vocabulary(self.pattern, (*self.extra, *(word for word in words if word.strip())))


def vocabulary(*alternatives: str) -> Vocabulary:
    """A vocabulary from regular expressions that match whole words, case ignored."""
    return Vocabulary(re.compile(r"(?<![\w-])(?:" + "|".join(alternatives) + r")(?!\w)", re.IGNORECASE))


CAUSE = vocabulary(
    r"why",
    r"because(?: of)?",
    r"since (?:the|it|we|they|this|that|these|there|each|most|only|all|a|an|our|its)",
    r"so that|so \w+ that",
    r"so (?:the|it|we|they|this|that|there|each|you|no|a|an|only|all|every|its|our|one)",
    r"in order to",
    r"therefore|thus|hence|thereby",
    r"(?:which|this|that|it) means",
    r"means (?:that|we|fewer|less|more)",
    r"due to|thanks to|as a result|owing to",
    r"(?:the|one|main) reasons?",
    r"otherwise",
    r"(?:this|which|that|it|they) (?:is what )?(?:prevents?|avoids?|keeps?|lets?|allows?|helps?"
    r"|ensures?|makes?)",
    r"to (?:prevent|avoid|keep|reduce|save|speed up|make sure|ensure|stop|fit|protect|limit)",
    r"(?:prevents?|avoids?) (?:the|a|an|\w+ing|\w+flow|nan|oom|overfitting|forgetting)",
    r"too (?:high|low|large|small|big|many|few|long|short|slow|fast|much|little)",
    r"(?:would|could|might|can) (?:diverge|overflow|underflow|overfit|explode|vanish|fail|run out)",
    r"(?:enough|necessary|needed|required) (?:to|for|because)",
)
"""Words that give a reason or a consequence."""

COMPARISON = vocabulary(
    r"vs\.?|versus",
    r"instead of|rather than|as opposed to|in contrast|by contrast|on the other hand",
    r"compared? (?:to|with|against)|in comparison|comparison",
    r"unlike|whereas|while (?:full|the|a|an)",
    r"alternatives?|alternatively",
    r"(?:faster|slower|smaller|larger|bigger|fewer|less|more|better|worse|cheaper|lower|higher"
    r"|shorter|longer)"
    r"(?: \w+){0,4} than",
    r"(?:other|another) (?:options?|choices?|approach(?:es)?|methods?|ways?)",
    r"we (?:could|might) (?:also|have)",
)
"""Words that hold one way against another."""

COST = vocabulary(
    r"trade-?\s?offs?|trad(?:es?|ing) (?:\w+ ){1,4}(?:for|against)",
    r"at the (?:cost|expense|price) of|in exchange for|the price (?:is|of|we pay)",
    r"drawbacks?|downsides?|disadvantages?|shortcomings?|limitations?|pros and cons|cons",
    r"(?:gives?|giving) up|sacrific\w+|los(?:es?|ing) (?:some|a|quality|accuracy|precision)",
    r"costs? (?:\w+ ){0,3}(?:memory|time|accuracy|quality|speed|precision|money|compute)",
    r"(?:but|though|although|however)(?:,)? (?:\w+ ){0,6}"
    r"(?:slower|slow|memory|accura\w+|quality|costs?|longer|worse|noisier|less|lower|risk\w*"
    r"|harder|overfit\w*|more)",
    r"(?:slightly|somewhat|a bit) (?:lower|worse|slower|less)",
)
"""Words that say what is lost."""

HEDGE = vocabulary(
    r"(?:good|safe|sensible|reasonable|common|usual|typical|popular) (?:choice|default|start"
    r"|starting|value|values|range)",
    r"rule of thumb|typically|usually works|works well|in practice|sweet spot|start (?:with|small"
    r"|low|from)",
    r"between [\d.e-]+ and [\d.e-]+|in the range",
    r"(?:higher|lower|larger|smaller|bigger|more|fewer|increasing|decreasing|raising|lowering)"
    r"(?: \w+){0,4} (?:means?|gives?|makes?|needs?|leads?|results?|lets?|allows?|improves?|risks?"
    r"|uses?|takes?|adapts?"
    r"|captures?|learns?|converges?|diverges?|destabili\w+|costs?|increases?|reduces?|slows?|speeds?)",
    r"(?:lower|raise|increase|decrease|reduce|double|halve) (?:it|this|them|that) (?:if|when|until)",
    r"if (?:\w+ ){1,8}(?:lower|raise|increase|decrease|reduce|try|use)",
)
"""Words that justify a value by experience or say what changing it does."""

REASON = Vocabulary(
    re.compile("|".join(words.pattern.pattern for words in (CAUSE, COMPARISON, COST, HEDGE)), re.IGNORECASE)
)
"""Any of them: what makes a sentence an explanation."""

TOPICS: dict[str, Vocabulary] = {
    "learning rate": vocabulary(r"learning[- ]rates?", "lr", r"step sizes?"),
    "batch size": vocabulary(r"(?:mini-?)?batch(?:[- _]sizes?|es)?"),
    "epochs": vocabulary(r"epochs?", r"passes over the (?:data|set)", r"training (?:time|length|duration)"),
    "steps": vocabulary(r"(?:training |optimi[sz]er |number of |more |fewer |\d+ )?steps"),
    "rank": vocabulary(r"ranks?", r"\br\b ?="),
    "alpha": vocabulary(r"(?:lora_)?alpha", r"α", r"scaling factor"),
    "dropout": vocabulary(r"(?:lora_)?dropout"),
    "weight decay": vocabulary(r"weight[- _]decay", r"regulari[sz]\w+"),
    "clipping norm": vocabulary(r"clip\w*(?: \w+)?", r"max(?:imum)?[_ ](?:grad(?:ient)?[_ ])?norm"),
    "warm-up": vocabulary(r"warm-?up(?:_\w+)?"),
    "accumulation": vocabulary(r"accumulat\w+(?: \w+)?"),
    "sequence length": vocabulary(
        r"(?:sequence|context|maximum|max)[- _]length", r"block[- _]size", r"tokens?"
    ),
    "momentum": vocabulary("momentum"),
    "GPU": vocabulary(r"gpus?", "cuda", r"accelerators?", r"graphics cards?"),
    "Conv1D": vocabulary(
        r"conv1d",
        r"transposed?",
        r"\(in(?:_features)?, ?out(?:_features)?\)",
        r"layer (?:types?"
        r"|kinds?)",
    ),
    "FP16": vocabulary(
        r"fp16", r"float16", r"half[- ]precision", r"mixed[- ]precision", r"16[- ]bits?", r"autocast", "amp"
    ),
    "mixed precision": vocabulary(
        r"[fb]p?f?(?:loat)?16",
        r"half[- ]precision",
        r"mixed[- ]precision",
        r"16[- ]bits?",
        r"autocast",
        "amp",
    ),
    "BF16": vocabulary(r"bf16", r"bfloat16", r"half[- ]precision", r"mixed[- ]precision", r"16[- ]bits?"),
    "LoRA": vocabulary(r"q?lora\w*", r"low[- ]rank(?: \w+)?", r"adapters?", "peft"),
    "gradient scaling": vocabulary(
        r"gradscaler",
        r"(?:gradient|loss)[- ]scal\w+",
        r"scalers?",
        r"scales? the (?:loss|gradients?)",
        r"underflow\w*",
    ),
    "gradient clipping": vocabulary(r"clip\w*", r"exploding gradients?", r"gradient norms?"),
    "gradient accumulation": vocabulary(r"accumulat\w+", r"effective batch(?:[- ]size)?"),
    "activation checkpointing": vocabulary(r"(?:gradient |activation )?checkpointing", r"recomput\w+"),
    "quantization": vocabulary(r"quanti[sz]\w+", r"4[- ]bit", r"8[- ]bit", "nf4", r"qlora"),
}
"""How prose names what the code decides."""

PERFORMANCE = vocabulary(
    r"memory|v?ram|gpu hours?|throughput|latency|speed(?:s|-?up)?|bandwidth|flops|compute|footprint",
    r"faster|slower|quick(?:er|ly)?|slow|fast|cheap(?:er)?|expensive|parallel\w*|cores?",
    r"\d[\d.,]* ?(?:x|×|gb|gib|mb|mib|seconds?|minutes?|hours?|ms|bytes)",
    r"bytes|seconds?|minutes?|hours?|(?:training |run(?:ning)? )time",
)
"""Words about what something costs to run."""

MEASURED = Vocabulary(
    re.compile(
        "|".join(words.pattern.pattern for words in (CAUSE, COMPARISON, COST, HEDGE))
        + r"|\d[\d.,]* ?(?:x|×|%|gb|gib|mb|mib|seconds?|minutes?|hours?|ms|bytes|times)(?!\w)"
        r"|\bhalf\b|\bhalves\b|\btwice\b"
        + r"|faster|slower|(?:less|more|fewer) (?:memory|time|parameters|compute|v?ram)|(?:needs?"
        r"|takes?|fits?|costs?|requires?)\b",
        re.IGNORECASE,
    )
)
ANYTHING = vocabulary(r"\w+")
CHOICE = vocabulary(
    r"lora",
    r"fine-?tun\w+",
    r"adapters?",
    r"models?",
    r"methods?",
    r"approach(?:es)?",
    r"techniques?",
    r"optimi[sz]ers?",
    r"adamw?",
    r"sgd",
    r"precision",
    r"fp16",
    r"bf16",
    r"fp32",
    r"training",
    r"gpus?",
    r"cpus?",
    r"batch\w*",
    r"rank",
    r"layers?",
    r"quanti[sz]\w+",
    r"checkpointing",
    r"prompt\w*",
    r"it|this|we|them|both|these",
)
WHEN = vocabulary(
    r"when (?:to|not to|should|you (?:have|need|want|should)|(?:the|your) \w+ (?:is|are|fits?|has"
    r"|have))",
    r"(?:use|choose|prefer|pick|avoid|skip)(?: \w+){0,5} (?:when|if|unless) (?:you|your|the|there|it)",
    r"(?:works? best|works? well|good fit|right tool|suitable|suited|useful|ideal|meant|worth it)"
    r"(?: \w+){0,3} (?:when|if|for|with|unless|on)",
    r"(?:not|less|un)[- ]?(?:suitable|suited|recommended|useful|worth\w*)",
    r"(?:do not|don't|avoid) (?:use|using|this|it)",
    r"(?:requires?|needs?|enough|at least|fits? (?:on|in|into)) (?:\w+ ){0,4}\d[\d.]* ?(?:gb|gib"
    r"|examples?|samples?|rows?|v?ram)",
    r"(?:small|large|tiny|limited|few|little) (?:data ?sets?|data|corpus|gpus?|v?ram|memory|examples?)",
    r"hardware requirements?|limitations?|consumer (?:gpus?|hardware|cards?)|if you (?:only )?(?:have"
    r"|need)",
)
RESULT = vocabulary(
    r"loss(?:es)?",
    r"curves?",
    r"charts?",
    r"plots?",
    r"figures?",
    r"graphs?",
    r"accurac\w+",
    r"perplexity",
    r"results?",
    r"scores?",
    r"metrics?",
    r"outputs?",
    r"bars?",
    r"lines?",
    r"the (?:model|adapter) (?:has"
    r"|learn\w*|now)",
    r"generat\w+",
    r"values?",
    r"numbers?",
)
MEANS = vocabulary(
    r"(?:falls?|fell|drops?|dropped|rises?|rose|goes|went|flattens?|plateaus?|decreas\w+"
    r"|increas\w+|improv\w+|converg\w+|diverg\w+)",
    r"(?:shows?|means?|indicates?|suggests?|tells?|reveals?|confirms?|implies|expect\w*|should"
    r"|a sign|signals?)",
    r"(?:lower|higher|closer|smaller|larger) (?:is|are|means?|values?)",
    r"(?:we|you) (?:can )?(?:see|notice|observe)|notice|interpret\w*|reading (?:the|this)"
    r"|look for|compare[sd]?|compared",
    r"overfit\w*|underfit\w*|memori[sz]\w+|well below|better than|worse than|close to|near",
)
