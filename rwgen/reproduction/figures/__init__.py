"""The paper's figures, one family a module."""
