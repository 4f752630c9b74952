"""Starts and stops bots behind one interface: containers in production, processes in the demo."""

from bot_control.interface import BotControl, Process, ProcessState
from bot_control.open import BotControlSettings, open_control

__all__ = ["BotControl", "BotControlSettings", "Process", "ProcessState", "open_control"]
