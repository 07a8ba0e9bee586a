"""Draws docs/demo.svg, the README's picture of `swarm demo`: python docs/demo_picture.py

Plays the demo as `swarm demo` does, and keeps the live picture of the middle of the training and the final table.
"""

import io
import re
from pathlib import Path

from rich.console import Console

from swarm.cli.demo_view import View
from swarm.nodes.demo.play import Play, Settings
from swarm.nodes.launch import Launch
from swarm.nodes.localrun import environment
from swarm.nodes.scratch import scratch_directory

WIDTH = 112
ROUND = 14


def main() -> None:
    paper = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor", highlight=False)
    settings = Settings(peers=2, sns=2, epochs=None, dataset="digits", seed=0)
    view = View(settings, paper)
    drawn = False

    def look() -> None:
        nonlocal drawn
        peers = scene.run.swarm.peers
        if not drawn and peers and all(len(peer.rounds) >= ROUND for peer in peers):
            drawn = True
            paper.print("$ swarm demo", style="bold")
            paper.print(view.picture(scene))
            paper.print()

    with scratch_directory("swarm-picture-") as directory, Launch(environment=environment()) as launch:
        scene = Play(settings, directory, launch, look)
        with view.showing(scene):
            played = scene.play()
    view.summary(played, None, paper)
    picture = re.sub(r"@font-face \{.*?\}\s*", "", paper.export_svg(title="swarm demo"), flags=re.DOTALL)
    Path(__file__).with_name("demo.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
