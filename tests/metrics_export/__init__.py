"""Tests of what the exporters show, against what the machines counted."""
