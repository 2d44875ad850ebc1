"""The seven SCHEDULER_* variables of the standalone runner, laid over a manifest's spec."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from openbell.domain.errors import ManifestError

PREFIX = "SCHEDULER_"


class SchedulerVariables(BaseSettings):
    """Unset means: as the manifest says. A variable outweighs the manifest, a flag outweighs a variable."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    enabled: bool | None = None
    evaluation_interval: int | None = None
    exit_check_interval: int | None = None
    min_confidence: float | None = None
    max_concurrent_trades: int | None = None
    require_ibkr_connection: bool | None = None
    market_hours_only: bool | None = None

    def over(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The spec with every variable that is set in its place."""
        laid = dict(spec)
        for variable, field in _FIELDS.items():
            value = getattr(self, variable)
            if value is not None:
                laid[field] = value
        if self.market_hours_only is not None:
            laid["market"] = {**(spec.get("market") or {}), "hoursOnly": self.market_hours_only}
        return laid


_FIELDS = {
    "enabled": "enabled",
    "evaluation_interval": "evaluationIntervalSeconds",
    "exit_check_interval": "exitCheckIntervalSeconds",
    "min_confidence": "minConfidence",
    "max_concurrent_trades": "maxConcurrentTrades",
    "require_ibkr_connection": "requireBrokerConnection",
}


def read_variables() -> SchedulerVariables:
    """The variables of this process. Raises ManifestError that names the variable, its value and what is allowed."""
    try:
        return SchedulerVariables()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = PREFIX + str(first["loc"][0]).upper()
        wanted = {"bool_parsing": "true or false", "int_parsing": "a whole number", "float_parsing": "a number"}
        raise ManifestError(
            f"{name} is {first['input']!r}; it must be {wanted.get(first['type'], first['msg'])}"
        ) from error
