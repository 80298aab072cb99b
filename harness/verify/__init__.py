"""A verification: announce, train in turn, evaluate, judge, sign."""
