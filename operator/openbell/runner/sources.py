"""Which ConfigMaps the strategies name, and the code that is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openbell.domain.errors import ManifestError
from openbell.resources.load import Manifest
from openbell.resources.strategy import SourceType, StrategySpec
from openbell.runner.entry import Code

Texts = Mapping[str, str]
CONFIG_MAP = "ConfigMap"


class SourceMissingError(ManifestError):
    """The ConfigMap or its key is not there. The strategy waits for it and says so."""


class SourceUnreadError(ManifestError):
    """The ConfigMap has not been read yet, which may be for want of the right to. The strategy waits."""


@dataclass(frozen=True, slots=True)
class ConfigMaps:
    """The data of each ConfigMap by its name; `unread` are those that nothing is known of yet."""

    texts: Mapping[str, Texts]
    unread: frozenset[str] = frozenset()


def named_by(manifest: Manifest) -> str | None:
    """The ConfigMap that a strategy's class is in, if it is in one."""
    spec = manifest.spec
    if not isinstance(spec, StrategySpec) or spec.source is None or spec.source.config_map is None:
        return None
    return spec.source.config_map.name


def code_of(spec: StrategySpec, namespace: str, config_maps: ConfigMaps) -> Code:
    """The class of a custom strategy. Raises SourceMissingError or SourceUnreadError."""
    source = spec.source
    assert source is not None  # noqa: S101 - a rule of the resource
    if source.type is SourceType.IMAGE:
        assert source.entry_point is not None  # noqa: S101 - a rule of the resource
        return Code("the image", source.entry_point)
    assert source.config_map is not None  # noqa: S101 - a rule of the resource
    assert source.class_name is not None  # noqa: S101 - a rule of the resource
    name, key = source.config_map.name, source.config_map.key
    if name in config_maps.unread:
        raise SourceUnreadError(f"the ConfigMap {name} has not been read yet")
    texts = config_maps.texts.get(name)
    if texts is None:
        raise SourceMissingError(f"there is no ConfigMap {name} in {namespace}, which spec.source.configMap.name names")
    if key not in texts:
        has = ", ".join(sorted(texts)) or "nothing"
        raise SourceMissingError(
            f"the ConfigMap {name} has no key {key}, which spec.source.configMap.key names; it has {has}"
        )
    return Code(f"ConfigMap {name}, key {key}", source.class_name, texts[key])


def config_map_texts(document: Mapping[str, Any]) -> tuple[str, Texts]:
    """Name and data of a ConfigMap's document. Raises ManifestError where it is none."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        raise ManifestError("metadata.name of the ConfigMap is missing")
    if document.get("apiVersion") != "v1":
        raise ManifestError(f"ConfigMap {name}: apiVersion is {document.get('apiVersion')!r}; it must be v1")
    data = document.get("data") or {}
    if not isinstance(data, Mapping) or not all(isinstance(value, str) for value in data.values()):
        raise ManifestError(f"ConfigMap {name}: data must be an object of texts")
    return name, {str(key): value for key, value in data.items()}
