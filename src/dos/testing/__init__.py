"""Testing: public fakes and conformance checks for people who write plugins.

`dos.testing.sinks` has a sink that records what a source delivers; `dos.testing.sources` checks
that a source keeps its lifecycle contract. DOS runs the same checks on its own plugins.
"""
