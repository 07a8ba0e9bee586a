"""The picture of `Swci.plotTopology`: network nodes, their operators, and the learning nodes of these.

Needs networkx and matplotlib, which nothing else of `Swci` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = {"Port": 2, "ContainerName": 3, "UUID": 4, "ParentUUID": 5, "i-am-alive": 6}
"""What can be written beside a node, and its place in a row of ``LIST NODES``."""
_ROWS = ("SENTINEL", "SN", "SWOP", "SL")


@dataclass(frozen=True)
class Node:
    cells: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.cells[0]

    @property
    def uid(self) -> str:
        return self.cells[COLUMNS["UUID"]]

    @property
    def parent(self) -> str:
        return self.cells[COLUMNS["ParentUUID"]]

    def label(self, attributes: Sequence[str]) -> str:
        return "\n".join([f"{self.kind} {self.cells[1]}", *(self.cells[COLUMNS[name]] for name in attributes)])


def nodes_of(lines: Sequence[str]) -> list[Node]:
    """Of the lines of ``LIST NODES``; its header and what is none of its rows are left out."""
    rows = [tuple(cell.strip() for cell in line.split(",")) for line in lines]
    return [Node(row) for row in rows if len(row) == len(COLUMNS) + 2 and row[0] in _ROWS]


def draw(lines: Sequence[str], colours: Mapping[str, str], attributes: Sequence[str]) -> Any:
    """The figure. Raises RuntimeError for attributes that there are not, and where the libraries are missing."""
    unknown = [name for name in attributes if name not in COLUMNS]
    if unknown:
        raise RuntimeError(f"there is no attribute {unknown[0]!r}, expected some of {', '.join(COLUMNS)}")
    try:
        import networkx
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        raise RuntimeError(f"plotTopology needs {error.name}: pip install 'swarm-learning[topology]'") from error
    nodes = nodes_of(lines)
    graph = networkx.Graph()
    for node in nodes:
        graph.add_node(node.uid, layer=-max(_ROWS.index(node.kind), 1))
    known = {node.uid for node in nodes}
    graph.add_edges_from((node.uid, node.parent) for node in nodes if node.parent in known)
    figure, axes = pyplot.subplots(figsize=(max(6, 2 * len(nodes)), 6))
    networkx.draw(
        graph,
        networkx.multipartite_layout(graph, subset_key="layer", align="horizontal") if nodes else {},
        ax=axes,
        labels={node.uid: node.label(attributes) for node in nodes},
        node_color=[colours[node.kind] for node in nodes],
        node_size=3000,
        font_size=8,
    )
    pyplot.show()
    return figure
