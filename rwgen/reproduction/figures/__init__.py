"""The paper's figures, one family per module."""
