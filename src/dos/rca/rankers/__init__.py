"""Rankers, one file each; see `dos.rca.base.Ranker`."""
