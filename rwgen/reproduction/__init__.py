"""The paper's figures made again, with what the paper says of them beside what was measured.

`rwgen.reproduction.run.reproduce` makes them; `rwgen reproduce` is its command. A figure is a list
of parts (`parts`) and a function from their results to what is shown (`report`); a part is made
once and kept (`store`), whatever shows it.
"""
