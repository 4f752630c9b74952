"""Fixtures: real stores and processes."""

from tests.support.operations import house_database, house_template, platform, supervisor

__all__ = ["house_database", "house_template", "platform", "supervisor"]
