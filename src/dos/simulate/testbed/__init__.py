"""Testbed: a small real system on loopback that is broken on purpose; nothing in it is modelled.

`spec` says which services there are and who calls whom. Each service is a process of its own
(`process` is its door, `service` its application, `tasks` its real work), instrumented with
prometheus-client and OpenTelemetry. `supervisor` starts them, restarts them, ends them, connects
them through `wire`s, and lets `load` come in. What breaks is described in `faults`; `breakage`
does it inside a service, the supervisor does it from outside. `control` is the HTTP door of the
whole.
"""
