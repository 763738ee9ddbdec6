"""Reproduction of the paper's figures, with the paper's claims about them and measured verdicts.

`rwgen.reproduction.run.reproduce` makes them, and `rwgen reproduce` is its command. A figure is a
list of parts (`parts`) and a function from their results to what is shown (`report`). A part is
made once and kept (`store`), whichever figures show it.
"""
