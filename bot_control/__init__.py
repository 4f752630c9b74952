"""Starts and stops bots behind one interface: containers in production, processes in the demo."""

from bot_control.desired_state import follows_desired_state
from bot_control.interface import BotControl, Process, ProcessState
from bot_control.open import BotControlSettings, open_control

__all__ = ["BotControl", "BotControlSettings", "Process", "ProcessState", "follows_desired_state", "open_control"]
