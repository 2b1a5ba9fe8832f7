"""What an ACP session says about itself: model, mode, title, commands, costs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hyperpi.contract import Json

MAX_COMMANDS = 200
MAX_CHOICES = 500  # of models; some agents know every model of every vendor
MAX_CHARS = 500


@dataclass(frozen=True, slots=True)
class SessionCard:
    """One session as its agent describes it now."""

    agent: str = "agent"  # what the program calls itself
    model: str | None = None
    models: tuple[str, ...] = ()
    thinking: str | None = None
    thinking_levels: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()  # category of a setting -> the agent's own id of it
    mode: str | None = None
    modes: tuple[str, ...] = ()
    title: str | None = None
    commands: tuple[Json, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    window: int = 0  # tokens that fit into the model's context, and
    context: int = 0  # those that are in it

    @property
    def card(self) -> Json:
        """The Card of the contract. Commands are what this agent can be asked for by name."""
        return {
            "model": self.model,
            "models": list(self.models),
            "thinking": self.thinking,
            "thinking_levels": list(self.thinking_levels),
            "mode": self.mode,
            "modes": list(self.modes),
            "tools": [],
            "skills": list(self.commands),
        }

    @property
    def usage(self) -> Json:
        """The Usage of the contract."""
        usage: Json = {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
        }
        if self.window:
            percent = round(100 * self.context / self.window, 1)
            usage["context"] = {"window": self.window, "tokens": self.context, "percent": percent}
        return usage

    def option(self, category: str) -> str | None:
        """The agent's own id of a setting, if it has one of that category."""
        return dict(self.options).get(category)


def greeted(answer: Json, command: str) -> SessionCard:
    """What the answer to `initialize` says; a program without a name is known by its command."""
    found = answer.get("agentInfo")
    info = found if isinstance(found, dict) else {}
    return SessionCard(agent=_text(info.get("title")) or _text(info.get("name")) or command)


def opened(card: SessionCard, answer: Json) -> SessionCard:
    """What the answer to `session/new` or `session/load` says."""
    card = configured(card, answer)
    models, modes = answer.get("models"), answer.get("modes")
    if isinstance(models, dict) and card.model is None:
        card = replace(card, model=_text(models.get("currentModelId")))
    # The older way. Who has settings may offer one of them this way too, for clients that know no settings.
    if isinstance(modes, dict) and not card.options:
        known = _choices(modes.get("availableModes"), "id")
        card = replace(card, mode=_text(modes.get("currentModeId")), modes=known)
    return card


def configured(card: SessionCard, answer: Json) -> SessionCard:
    """What the answer to `session/set_config_option` says."""
    return _configured(card, answer.get("configOptions"))


def in_mode(card: SessionCard, mode: Any) -> SessionCard:
    """The card in another mode."""
    return replace(card, mode=_text(mode) or card.mode) if card.modes else card


def updated(card: SessionCard, update: Json) -> SessionCard:
    """The card after a session update; the same one when that says nothing about it."""
    match update.get("sessionUpdate"):
        case "config_option_update":
            return _configured(card, update.get("configOptions"))
        case "current_mode_update":
            return in_mode(card, update.get("currentModeId"))
        case "session_info_update" if isinstance(update.get("title"), str):
            return replace(card, title=_text(update["title"]))
        case "available_commands_update":
            return replace(card, commands=_commands(update.get("availableCommands")))
        case "usage_update":
            card = replace(card, window=_count(update.get("size")), context=_count(update.get("used")))
            return _charged(card, update.get("cost"))
        case _:
            return card


def used(card: SessionCard, answer: Json) -> SessionCard:
    """The card with the tokens that the answer to a prompt reports for its turn."""
    found = answer.get("usage")
    usage: Mapping[str, Any] = found if isinstance(found, dict) else {}
    return replace(
        card,
        input_tokens=card.input_tokens + _count(usage.get("inputTokens")),
        output_tokens=card.output_tokens + _count(usage.get("outputTokens")),
    )


def _configured(card: SessionCard, options: Any) -> SessionCard:
    for option in options if isinstance(options, list) else ():
        if not isinstance(option, dict):
            continue
        value, choices = _text(option.get("currentValue")), _choices(option.get("options"))
        match option.get("category"):
            case "model":
                card = replace(card, model=value, models=choices)
            case "thought_level":
                card = replace(card, thinking=value, thinking_levels=choices)
            case "mode":
                card = replace(card, mode=value, modes=choices)
            case _:
                continue
        settings = {**dict(card.options), str(option["category"]): str(option.get("id"))}
        card = replace(card, options=tuple(settings.items()))
    return card


def _choices(options: Any, key: str = "value") -> tuple[str, ...]:
    """The values of a setting's options, which may be in groups."""
    found: list[str] = []
    for option in options if isinstance(options, list) else ():
        if isinstance(option, dict):
            value = _text(option.get(key))
            found += [value] if value else _choices(option.get("options"), key)
    return tuple(found[:MAX_CHOICES])


def _commands(found: Any) -> tuple[Json, ...]:
    commands = (
        [c for c in found if isinstance(c, dict) and _text(c.get("name"))] if isinstance(found, list) else []
    )
    return tuple(
        {"name": f"/{_text(command['name'])}", "description": _text(command.get("description")) or ""}
        for command in commands[:MAX_COMMANDS]
    )


def _charged(card: SessionCard, cost: Any) -> SessionCard:
    """The cost is the session's so far; another currency is not converted."""
    if not isinstance(cost, dict) or cost.get("currency") != "USD":
        return card
    amount = cost.get("amount")
    return replace(card, cost_usd=float(amount)) if isinstance(amount, int | float) else card


def _text(value: Any) -> str | None:
    return value[:MAX_CHARS] if isinstance(value, str) and value else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 50 else 0
