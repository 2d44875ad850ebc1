#!/usr/bin/env python3
"""chart.py [--check]: writes what is generated in charts/openbell, or says what differs and fails.

values.yaml, values.schema.json and the table of values in README.md come from chart_values.Values; the templates of
the resource definitions from crds/*.yaml; the roles' rules from openbell.controller.rbac.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from chart_values import Block, Values
from pydantic.fields import FieldInfo

from openbell.controller import rbac

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "openbell"
WIDTH = 110
TABLE_START, TABLE_END = "<!-- values: written by hack/chart.py -->", "<!-- end of values -->"


def generated() -> dict[Path, str]:
    """Every generated file of the chart and what it is to contain."""
    readme = CHART / "README.md"
    files = {
        CHART / "values.yaml": values_yaml(),
        CHART / "values.schema.json": json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n",
        CHART / "templates" / "_rules.tpl": rules_template(),
        readme: with_table(readme.read_text(encoding="utf-8"), values_table()),
    }
    for source in sorted((ROOT / "crds").glob("*.yaml")):
        files[CHART / "templates" / "crds" / source.name] = crd_template(source.read_text(encoding="utf-8"))
    return files


def strays() -> list[Path]:
    """Templates of resource definitions that no longer have a source."""
    return [path for path in (CHART / "templates" / "crds").glob("*.yaml") if path not in generated()]


# values


def _fields(block: Block) -> Iterator[tuple[str, FieldInfo, Any]]:
    for name, field in type(block).model_fields.items():
        yield str(field.alias), field, getattr(block, name)


def _wrapped(text: str, indent: str) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(indent) + len(line) + len(word) + 3 > WIDTH:
            yield f"{indent}# {line}"
            line = ""
        line = f"{line} {word}".strip()
    yield f"{indent}# {line}"


def values_yaml() -> str:
    """The defaults with each field's description above it."""

    def lines(block: Block, indent: str) -> Iterator[str]:
        for name, field, value in _fields(block):
            if not indent:
                yield ""
            yield from _wrapped(str(field.description), indent)
            if isinstance(value, Block):
                yield f"{indent}{name}:"
                yield from lines(value, indent + "  ")
            else:
                yield f"{indent}{name}: {json.dumps(value)}"

    head = "# The values of the chart with their defaults; written by hack/chart.py."
    return "\n".join([head, *lines(Values(), "")]) + "\n"


def values_schema() -> dict[str, Any]:
    """JSON Schema draft-07, which Helm 3 and 4 both read."""
    schema = Values.model_json_schema(by_alias=True, ref_template="#/definitions/{model}")
    schema["definitions"] = schema.pop("$defs")
    # A chart that is a dependency of another one is given `global`.
    schema["properties"]["global"] = {"type": "object", "description": "Values of a parent chart; not read."}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "openbell", **_plain(schema)}


def _plain(node: Any) -> Any:
    """Without titles and defaults (values.yaml has them), and with references that older readers follow."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {
        key: _plain(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str)) and key != "default"
    }
    # draft-07 ignores what stands beside a $ref.
    if "$ref" in plain and len(plain) > 1:
        plain["allOf"] = [{"$ref": plain.pop("$ref")}]
    return plain


def values_table() -> str:
    """A Markdown table of all values."""

    def rows(block: Block, prefix: str) -> Iterator[str]:
        for name, field, value in _fields(block):
            if isinstance(value, Block):
                yield from rows(value, f"{prefix}{name}.")
            else:
                description = str(field.description).replace("|", "\\|")
                yield f"| `{prefix}{name}` | `{json.dumps(value)}` | {description} |"

    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows(Values(), "")])


def with_table(readme: str, table: str) -> str:
    """The page with its table of values replaced."""
    before, rest = readme.split(TABLE_START)
    _, after = rest.split(TABLE_END)
    return f"{before}{TABLE_START}\n{table}\n{TABLE_END}{after}"


# templates


def crd_template(text: str) -> str:
    """A resource definition as a template: behind `crds.enabled`, with labels and annotations, else as it is."""
    head, metadata, rest = _split_metadata(text.replace("{{", '{{ "{{" }}'))
    annotations = [line for line in metadata if not line.startswith(("metadata:", "  name:"))]
    if annotations:
        raise SystemExit(f"chart.py: metadata of a resource definition has more than its name: {annotations}")
    lines = [
        "{{- /* Written by hack/chart.py from crds/; not to be edited. */ -}}",
        "{{- if .Values.crds.enabled }}",
        *head,
        *metadata,
        "  labels:",
        '    {{- include "openbell.labels" . | nindent 4 }}',
        "  {{- if or .Values.crds.keep .Values.crds.annotations }}",
        "  annotations:",
        "    {{- if .Values.crds.keep }}",
        "    helm.sh/resource-policy: keep",
        "    {{- end }}",
        "    {{- with .Values.crds.annotations }}",
        "    {{- toYaml . | nindent 4 }}",
        "    {{- end }}",
        "  {{- end }}",
        *rest,
        "{{- end }}",
    ]
    return "\n".join(lines) + "\n"


def _split_metadata(text: str) -> tuple[list[str], list[str], list[str]]:
    lines = [line for line in text.rstrip("\n").split("\n") if line != "---"]
    start = lines.index("metadata:")
    end = next(n for n in range(start + 1, len(lines)) if not lines[n].startswith(" "))
    return lines[:start], lines[start:end], lines[end:]


def rules_template() -> str:
    """The operator's rules as three named templates: in watched namespaces, cluster-wide, in its own namespace."""
    sets = {"watched": rbac.WATCHED_RULES, "cluster": rbac.CLUSTER_RULES, "own": rbac.OWN_RULES}
    parts = ["{{- /* Written by hack/chart.py from openbell/controller/rbac.py; not to be edited. */ -}}"]
    for name, rules in sets.items():
        body = yaml.dump(
            list(rules), Dumper=_PlainDumper, sort_keys=False, default_flow_style=None, width=WIDTH
        ).rstrip()
        parts.append(f'{{{{- define "openbell.rules.{name}" -}}}}\n{body}\n{{{{- end -}}}}')
    return "\n\n".join(parts) + "\n"


class _PlainDumper(yaml.SafeDumper):
    """Without anchors where two rules share a list."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def main(arguments: list[str]) -> int:
    """Write, or with --check compare; the exit status says whether everything is as it is to be."""
    wanted = generated()
    differing = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if arguments == ["--check"]:
        for path in differing + strays():
            print(f"{path.relative_to(ROOT)} differs from its source: run hack/chart.py", file=sys.stderr)
        return 1 if differing or strays() else 0
    for path in strays():
        path.unlink()
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
