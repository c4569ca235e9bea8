"""Run every fuzz target for a few seconds, starting from its committed corpus.

A target is a file fuzz_X.py beside this one, and its corpus the folder corpus/X. What the fuzzer
finds on the way goes to a folder that is thrown away, so that a corpus grows only on purpose; an
input that breaks a target is printed by libFuzzer in base64.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 32  # for all targets together


def run(target: Path, seconds: int) -> bool:
    """Whether ``target`` survived ``seconds`` of fuzzing."""
    corpus = HERE / "corpus" / target.stem.removeprefix("fuzz_")
    print(f"=== {target.name}: {len(list(corpus.iterdir()))} seeds, {seconds} s", flush=True)
    with tempfile.TemporaryDirectory() as found:
        options = [f"-max_total_time={seconds}", "-timeout=20", f"-artifact_prefix={found}/"]
        # libFuzzer writes to the first folder and only reads the others.
        command = [sys.executable, str(target), *options, found, str(corpus)]
        return subprocess.run(command, check=False).returncode == 0


def main() -> int:
    targets = sorted(HERE.glob("fuzz_*.py"))
    if not targets:
        print("there are no fuzz targets")
        return 1
    broken = [target.name for target in targets if not run(target, SECONDS // len(targets))]
    print(f"=== {len(targets)} targets, broken: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
