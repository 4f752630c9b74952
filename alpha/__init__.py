"""The shared library that every service and every strategy builds on."""
