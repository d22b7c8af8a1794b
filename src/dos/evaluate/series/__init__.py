"""How well detectors find the anomalies of labelled series (`dos bench detect`).

`files` reads series, `develop` makes some; `candidates` names the detectors and builds them from
`scorers`; `run` lets each score every series in a few processes and judges what they said with
`vus` and `events`; `card` adds it up.
"""
