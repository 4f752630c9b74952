"""The shared library of Alpha: what every service and every strategy stands on."""
