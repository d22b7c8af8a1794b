"""Root cause analysis: from a window of series and the graph to ranked hypotheses."""
