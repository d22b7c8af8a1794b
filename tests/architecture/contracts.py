"""Contract types for import-linter that its built-in ones lack.

Named in pyproject.toml under `[tool.importlinter]`; `lint-imports` imports them from the root of
the repository. The first two are the built-in types for a house that is still being built: a
room that does not exist yet is passed over instead of reported as a mistake.
"""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.protected import ProtectedContract
from importlinter.domain.helpers import module_expressions_to_modules
from importlinter.domain.imports import ModuleExpression


def _present(graph: ImportGraph, expressions: list[ModuleExpression]) -> list[ModuleExpression]:
    """The modules of `graph` that match, each as an expression of its own."""
    matched = module_expressions_to_modules(graph, expressions)
    return [
        ModuleExpression(name) for name in sorted(m.name for m in matched) if name in graph.modules
    ]


class ForbiddenWherePresent(ForbiddenContract):
    """`forbidden`, passing over modules that do not exist (yet)."""

    type_name = "forbidden_where_present"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        self.source_modules = _present(graph, self.source_modules)
        self.forbidden_modules = _present(graph, self.forbidden_modules)
        return super().check(graph, verbose)


class ProtectedWherePresent(ProtectedContract):
    """`protected`, passing over modules that do not exist (yet).

    Options beside those of `protected`:
        open_modules: Modules among the protected ones that everybody may import. So a wildcard
            protects each module of a package, those still to be written too, but for its base.

    Protected modules may import each other (`storage.sql` builds on its neighbours): the rule is
    about who chooses from outside. The package's `__init__` counts as outside, so that it cannot
    hand on what it must not choose.
    """

    type_name = "protected_where_present"
    open_modules = fields.SetField(subfield=fields.ModuleExpressionField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        free = {str(e) for e in _present(graph, list(self.open_modules or ()))}
        protected = [e for e in _present(graph, self.protected_modules) if str(e) not in free]
        self.protected_modules = protected
        inside = [e for e in protected if not graph.is_module_squashed(str(e))]
        self.allowed_importers = [*_present(graph, self.allowed_importers), *inside]
        return super().check(graph, verbose)


class AcyclicModules(Contract):
    """No module imports itself through others, a package and its own modules included.

    `acyclic_siblings` compares the folders of one level and so does not see a package whose
    `__init__` imports a module that imports the package.
    """

    type_name = "acyclic_modules"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        cycles = []
        for module in sorted(graph.modules):
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                back = graph.find_shortest_chain(importer=imported, imported=module)
                if back and min(back) == module:
                    cycles.append((module, *back))
        return ContractCheck(kept=not cycles, metadata={"cycles": cycles})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for cycle in check.metadata["cycles"]:
            output.print_error(" -> ".join(cycle), bold=False)
