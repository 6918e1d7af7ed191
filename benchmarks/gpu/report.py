"""The benchmark's findings: gpu.json with everything, gpu.md with the tables."""

import json
from pathlib import Path
from typing import Any

from people.storage import write_atomic

FP32, BF16 = "32-true", "bf16-mixed"


class Report:
    """What was found so far, by part and system; written whenever something is added."""

    def __init__(self, folder: Path, parts: list[str]) -> None:
        self.folder = folder
        self.results: dict[str, dict[str, Any]] = {part: {} for part in parts}

    @property
    def errors(self) -> list[str]:
        """Parts that failed, or that found numbers beyond their tolerance."""
        return [
            f"{part} {system}: {problem}"
            for part, by_system in self.results.items()
            for system, figures in by_system.items()
            if (problem := figures.get("error") or "; ".join(figures.get("beyond_tolerance", [])))
        ]

    def add(self, part: str, system: str, figures: dict[str, Any], seconds: float | None = None) -> None:
        """Keep the figures of one part; those of several systems at once come by system."""
        if part == "resumed" and not {"error", "not_run"} & set(figures):
            self.results[part] |= figures
        else:
            self.results[part][system or "all"] = figures | ({"part_seconds": round(seconds, 1)} if seconds else {})
        self.write()

    def write(self) -> None:
        """Both files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / "gpu.json", (json.dumps(self.results, indent=1, default=str) + "\n").encode())
        write_atomic(self.folder / "gpu.md", (table(self.results) + "\n").encode())


def table(results: dict[str, dict[str, Any]]) -> str:
    """The findings as Markdown."""
    blocks = [
        *_machine(results.get("machine", {}).get("all", {})),
        *_training(results),
        *_bounds(results),
        *_agreement(results),
        *_resumed(results),
        *_plain(results),
        *_loading(results),
        *_candidates(results),
        *_problems(results),
    ]
    return "\n".join(blocks)


def rows(header: list[str], lines: list[list[str]]) -> list[str]:
    """A Markdown table; nothing without lines."""
    if not lines:
        return []
    return ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines)] + [""]


def _machine(found: dict[str, Any]) -> list[str]:
    if "device" not in found:
        return []
    copies = found["copy_bytes_per_second"]
    host = f", host to device {copies['host_to_device'] / 1e9:.0f} GB/s" if "host_to_device" in copies else ""
    return [
        f"{found['device']}, {found['cores']} cores, Python {found['python']}, torch {found['torch']}, {found['date']}: "
        f"bf16 products {found['bf16_operations_per_second'] / 1e12:.1f} TFLOP/s, fp32 "
        f"{found['fp32_operations_per_second'] / 1e12:.1f} TFLOP/s, memory {copies['device'] / 1e9:.0f} GB/s{host}",
        "",
    ]


def _training(results: dict[str, dict[str, Any]]) -> list[str]:
    peak = results.get("machine", {}).get("all", {}).get("bf16_operations_per_second")
    lines = []
    for system, found in results.get("training", {}).items():
        alone = results.get("computing", {}).get(system, {})
        for precision in (name for name in (FP32, BF16) if name in found):
            step = found[precision]
            compute = alone.get(precision, {}).get("step_seconds")
            share = alone.get("operations", 0) / compute / peak if compute and peak and precision == BF16 else None
            lines.append([
                system,
                precision,
                str(found["batch_samples"]),
                f"{step['steps_per_second']:.1f}",
                f"{step['samples_per_second']:.0f}",
                f"{step['step_seconds'] * 1e3:.1f}",
                f"{compute * 1e3:.1f}" if compute else "",
                f"{step['loader_share']:.0%}",
                f"{share:.1%}" if share else "",
                f"{step['peak_bytes'] / 2**30:.1f}" if step["peak_bytes"] else "",
            ])  # fmt: skip
    header = ["system", "precision", "batch", "steps/s", "samples/s", "step ms", "computing alone ms", "waiting for data"]
    return rows([*header, "of bf16 peak", "peak GiB"], lines)


def _bounds(results: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        [name, found["bound_by"], ", ".join(found["waits_for_the_device"]) or "nowhere"]
        for name, found in results.get("computing", {}).items()
        if "bound_by" in found
    ]
    return rows(["system", "a step is bound by", "computing waits for the device at"], lines)


def _agreement(results: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        [system, *(f"{found['worst'][name]:.1e}" for name in found["worst"]), "; ".join(found["beyond_tolerance"]) or "yes"]
        for system, found in results.get("agreement", {}).items()
        if "worst" in found
    ]
    names = next((list(found["worst"]) for found in results.get("agreement", {}).values() if "worst" in found), [])
    return rows(["CPU against device, largest difference", *(name.replace("_", " ") for name in names), "within"], lines)


def _resumed(results: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        [
            system,
            "bit for bit" if found["bit_for_bit"] else f"differs by {found['largest_difference_of_the_curves']:.1e}",
            ", ".join(found["not_deterministic"]) or "none",
        ]
        for system, found in results.get("resumed", {}).items()
        if "bit_for_bit" in found
    ]
    return rows(["killed and resumed", "equal to uninterrupted", "operations without a deterministic form"], lines)


def _plain(results: dict[str, dict[str, Any]]) -> list[str]:
    found = results.get("plain", {}).get("gaittake", {})
    lines = [[name, f"{spent * 1e3:.1f}"] for name, spent in found.get("seconds", {}).items()]
    table_lines = rows(["GaitGL's step", "ms"], lines)
    if table_lines:
        ratios = (found[f"times_as_fast_as_plain_{kind}"] for kind in ("float32", "bfloat16"))
        table_lines += ["Times as fast as the plain one in float32: {:.2f}, in bfloat16: {:.2f}".format(*ratios), ""]
    return table_lines


def _loading(results: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        [system, way, f"{step['step_seconds'] * 1e3:.1f}", f"{step['samples_per_second']:.0f}", f"{step['loader_share']:.0%}"]
        for system, ways in results.get("loading", {}).items()
        for way, step in ways.items()
        if isinstance(step, dict)
    ]
    return rows(["system", "data", "step ms", "samples/s", "waiting for data"], lines)


def _candidates(results: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        [system, name, f"{value * 1e3:.2f}" if isinstance(value, float) else str(value)]
        for part in ("candidates", "compiled", "graphs")
        for system, found in results.get(part, {}).items()
        for name, value in found.items()
        if name != "part_seconds"
    ]
    return rows(["system", "computing alone, bf16", "step ms"], sorted(lines, key=lambda line: line[0]))


def _problems(results: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        [part, system, str(found.get("error") or found.get("not_run"))]
        for part, by_system in results.items()
        for system, found in by_system.items()
        if "error" in found or "not_run" in found
    ]
    return rows(["part", "system", "failed"], lines)
