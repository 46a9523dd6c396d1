"""Which rules are asked after what, as sets of bits: on a healthy host next to nothing is asked.

A rule is asked after a read of its cadence class in which one of its signals moved, or stood still for less than the
rule looks back; a rule that lives from events, facts or reasons alone is not asked after each read.
"""

from collections.abc import Iterable, Iterator

from agent.detect.limit import Settings
from agent.detect.memory import EPOCH_SIGNAL, Interest
from agent.detect.rule import Rule
from agent.detect.view import Asked
from agent.wire.signals import Cadence, Kind, SignalSpec

UPTIME = "host.uptime"
NO_REASON = frozenset({UPTIME, EPOCH_SIGNAL})  # the engine itself looks at them; that they move is no reason to ask


class Asks:
    """The rules by number, and by what makes them be asked. Numbers are bits: rule 3 is 8."""

    def __init__(self, rules: tuple[Rule, ...], signals: Iterable[SignalSpec], settings: Settings) -> None:
        numbered = tuple(enumerate(rules))
        self.gpu = {cadence: self._mask(r for r in numbered if self._read(r[1], cadence)) for cadence in Cadence}
        self.host = {cadence: self._mask(r for r in numbered if _of_host(r[1], cadence)) for cadence in Cadence}
        self.replica = {cadence: self._mask(r for r in numbered if _of_replica(r[1], cadence)) for cadence in Cadence}
        self.every_gpu = self._mask(r for r in numbered if r[1].judge_gpu)
        self.every_host = self._mask(r for r in numbered if r[1].judge_host)
        self.every_replica = self._mask(r for r in numbered if r[1].judge_replica)
        self.over_gpus = self._mask(r for r in numbered if r[1].judge_replica and r[1].judges_gpus)
        self.quality = tuple(number for number, rule in numbered if rule.judges_quality)
        self.facts = tuple(number for number, rule in numbered if rule.judges_facts and rule.judge_gpu)
        self.replica_facts = self._mask(r for r in numbered if r[1].judges_facts and r[1].judge_replica)
        self.sections = {
            section: self._mask(r for r in numbered if section in r[1].sections)
            for section in {section for rule in rules for section in rule.sections}
        }
        kinds = {kind for rule in rules for kind in rule.kinds}
        self.kinds = {kind: tuple(number for number, rule in numbered if kind in rule.kinds) for kind in kinds}
        self.asked = tuple(_asked(rule, settings) for rule in rules)
        self.interest = self._interest(rules, signals)

    @staticmethod
    def bits(mask: int) -> Iterator[int]:
        """The numbers in a set."""
        while mask:
            low = mask & -mask
            yield low.bit_length() - 1
            mask ^= low

    @staticmethod
    def _mask(numbered: Iterable[tuple[int, Rule]]) -> int:
        return sum(1 << number for number, _ in numbered)

    @staticmethod
    def _read(rule: Rule, cadence: Cadence) -> bool:
        return bool(rule.judge_gpu) and rule.cadence is cadence and not rule.judges_quality and rule.reads

    @staticmethod
    def _interest(rules: tuple[Rule, ...], signals: Iterable[SignalSpec]) -> Interest:
        windows: dict[str, float] = dict.fromkeys(NO_REASON, 0.0)
        want: dict[str, int] = {}
        for number, rule in enumerate(rules):
            for signal, window_s in rule.signals.items():
                windows[signal] = max(window_s, windows.get(signal, 0.0))
                if signal not in NO_REASON and signal not in rule.also and not rule.judges_quality:
                    want[signal] = want.get(signal, 0) | 1 << number
        specs = tuple(signals)
        counters = frozenset(spec.name for spec in specs if spec.kind is Kind.COUNTER)
        periods = {spec.name: spec.period_s for spec in specs if spec.period_s != spec.cadence.period_s}
        return Interest(windows, counters, want, periods)


def _of_replica(rule: Rule, cadence: Cadence) -> bool:
    return bool(rule.judge_replica) and rule.cadence is cadence and rule.reads


def _of_host(rule: Rule, cadence: Cadence) -> bool:
    return bool(rule.judge_host) and rule.cadence is cadence


def _asked(rule: Rule, settings: Settings) -> Asked:
    limits = {limit.name: limit.value for limit in rule.limits}
    limits.update({name: setting.value for name, setting in settings.get(rule.id, {}).items()})
    return Asked(rule.id, frozenset({*rule.signals, UPTIME}), limits, {one.name: one for one in rule.baselines})
