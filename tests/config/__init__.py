"""Tests of configuration from mappings, files and the environment."""
