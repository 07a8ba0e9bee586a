"""Draws docs/demo.svg, the README's picture of `swarm demo`: python docs/demo_picture.py

Plays the demo as `swarm demo` does, and keeps the live picture of the middle of the training and the final table.
"""

import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.theme import Theme

from swarm.cli.demo_view import View
from swarm.nodes.demo.play import Play, Settings
from swarm.nodes.launch import Launch
from swarm.nodes.localrun import environment
from swarm.nodes.scratch import scratch_directory

WIDTH = 106
ROUND = 14
GREY, RED, GREEN, YELLOW, BLUE, VIOLET, CYAN, WHITE = (
    (110, 118, 129), (255, 123, 114), (86, 211, 100), (227, 179, 65),
    (121, 192, 255), (210, 168, 255), (86, 212, 221), (201, 209, 217),
)  # fmt: skip
COLOURS = TerminalTheme((13, 17, 23), WHITE, [GREY, RED, GREEN, YELLOW, BLUE, VIOLET, CYAN, WHITE])
BARS = Theme({"bar.complete": "cyan", "bar.finished": "green", "bar.back": "#30363d"})


def main() -> None:
    paper = Console(
        record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor", highlight=False, theme=BARS
    )
    settings = Settings(peers=2, sns=2, epochs=None, dataset="digits", seed=0)
    view = View(settings, paper)
    drawn = False

    def look() -> None:
        nonlocal drawn
        peers = scene.run.swarm.peers
        if not drawn and peers and all(len(peer.rounds) >= ROUND for peer in peers):
            drawn = True
            paper.print("$ make demo\n", style="bold")
            paper.print(view.picture(scene))
            paper.print()
            paper.rule("at the end", align="left", style="bar.back")
            paper.print()

    with scratch_directory("swarm-picture-") as directory, Launch(environment=environment()) as launch:
        scene = Play(settings, directory, launch, look)
        with view.showing(scene):
            played = scene.play()
    view.summary(played, None, paper)
    picture = re.sub(r"@font-face \{.*?\}\s*", "", paper.export_svg(title="swarm demo", theme=COLOURS), flags=re.DOTALL)
    Path(__file__).with_name("demo.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
