"""What a registry exposes, read back from the text that Prometheus would read."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Exposed", "expose"]


class Exposed:
    """Samples by name and labels.

    ``text`` is the whole exposition.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"{key} twice"
                self.samples[key] = sample.value

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples which have these labels, of which there must be one."""
        found = [
            value
            for (sample, having), value in self.samples.items()
            if sample == name and set(labels.items()) <= having
        ]
        assert found, f"no sample {name} with {labels}"
        return sum(found)

    def values(self, label: str) -> set[str]:
        """All values that a label has anywhere."""
        return {value for _, labels in self.samples for name, value in labels if name == label}


def expose(registry: CollectorRegistry) -> Exposed:
    return Exposed(generate_latest(registry).decode())
