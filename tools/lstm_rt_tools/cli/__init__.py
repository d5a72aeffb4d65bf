"""The ``lstm-rt`` command: a module a verb."""

from .parser import main as main
