"""Recipes of the shipped networks, as data."""
