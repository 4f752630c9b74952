"""The fixtures of the house."""

from alpha.platform.tests.house import house_database, house_template, platform, supervisor

__all__ = ["house_database", "house_template", "platform", "supervisor"]
