"""Recipes of the shipped networks (JSON files)."""
