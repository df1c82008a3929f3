"""The offline demo model: a chat model that works without a network, and says that it is none."""

from core.agents.demo.model import DemoChatModel

__all__ = ["DemoChatModel"]
