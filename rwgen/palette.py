"""Colors of curves and bars."""

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette: distinguishable for color-blind readers, visible on light and dark."""
