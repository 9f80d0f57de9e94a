"""What `metabench ls` does: all that can be run."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

import adapters
import backbones
from harness.config import Benchmark, known_benchmarks, load_benchmark
from harness.console import print_json


def show_known(console: Console, *, as_json: bool = False) -> None:
    """Benchmarks with their domains, adapters, backbones."""
    benchmarks = [load_benchmark(name) for name in known_benchmarks()]
    if as_json:
        found = [_as_json(benchmark) for benchmark in benchmarks]
        print_json({"benchmarks": found, "adapters": adapters.known(), "backbones": backbones.known()})
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for benchmark in benchmarks:
        needs = " (needs --records)" if _needs_records(benchmark) else ""
        domains = ", ".join(domain.name for domain in benchmark.domains) or "every data set under --records"
        table.add_row(Text(benchmark.name, style="bold"), Text(benchmark.title + needs))
        table.add_row("", Text(domains, style="dim"))
    others = {"adapters": adapters.known(), "backbones": backbones.known(), "or": backbones.FORMS}
    for name, known in others.items():
        table.add_row(Text(name, style="bold"), Text(", ".join(known)))
    console.print(table, highlight=False)


def _as_json(benchmark: Benchmark) -> dict[str, object]:
    """`domains`: [] for every data set under --records."""
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "needs_records": _needs_records(benchmark),
        "domains": [domain.name for domain in benchmark.domains],
    }


def _needs_records(benchmark: Benchmark) -> bool:
    return not benchmark.domains or any(domain.source == "records" for domain in benchmark.domains)
