"""PURE. Replicas on the screens: cells, rows, the lines of a replica's page, pools. Rule: a number stands with what it
is worth; what an engine cannot say is a dash and what too few requests cannot carry is `few`, never a zero."""
