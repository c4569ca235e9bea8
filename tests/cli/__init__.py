"""Tests of the command line: in this process where that is enough, as a process where it
matters."""
