"""Minimize a function of one tensor; stop and resume."""
