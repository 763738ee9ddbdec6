"""The command line, installed as `rwgen.cli`: one module for each command."""
