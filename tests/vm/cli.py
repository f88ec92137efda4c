"""scripts/vmlab: the lab of virtual machines by hand."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time

from tests.lab.nodes import LabError
from tests.vm import image, lab, setting
from tests.vm.machines import BACKENDS, default_backend
from tests.vm.network import MACHINES

EPILOG = """\
example:
  scripts/vmlab build && scripts/vmlab up --pair && scripts/vmlab ssh db1 pgvip status && scripts/vmlab down

exit codes: 0 done, 1 failed, 2 wrong usage; ssh: the command's.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "scripts/vmlab", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--name", default="default", help="which lab [default]")
    commands = made.add_subparsers(dest="command", required=True)
    for word, text in {
        "build": "make the disk image and fetch the wheels, unless they are there (about 3 minutes)",
        "up": "start a lab and boot both machines",
    }.items():
        one = commands.add_parser(word, help=text)
        one.add_argument("--backend", choices=sorted(BACKENDS), default=default_backend())
        if word == "up":
            one.add_argument("--pair", action="store_true", help="set up a pair in them by README.md's steps")
    commands.add_parser("pair", help="set up a pair in the running lab by README.md's steps")
    shell = commands.add_parser("ssh", help="a root shell in a machine, or one command")
    shell.add_argument("host", choices=MACHINES)
    shell.add_argument("words", nargs=argparse.REMAINDER)
    power = commands.add_parser("power", help="the power button of a machine")
    power.add_argument("host", choices=MACHINES)
    power.add_argument("order", choices=["status", "on", "off", "reset", "freeze", "thaw"])
    commands.add_parser("down", help="end the lab and remove what it made")
    clean = commands.add_parser("clean", help="remove what labs left whose process is gone")
    clean.add_argument("--images", action="store_true", help="the images, wheels and the key too")
    return made


def up(name: str, backend: str, *, pair: bool) -> None:
    """Start a lab; with `pair`, set one up in it."""
    since_s = time.monotonic()
    image.build(backend)
    lab.start(name, backend=backend)
    made = lab.attach(name)
    lab.progress(f"networks and BMCs are there; booting ({backend})", since_s)
    made.boot()
    lab.progress("both machines have a shell: scripts/vmlab ssh db1", since_s)
    if pair:
        setting.set_up(made, lambda text: lab.progress(text, since_s))


def main() -> int:
    options = parser().parse_args()
    try:
        if options.command == "build":
            print(image.build(options.backend))
            print(image.wheels())
        elif options.command == "up":
            up(options.name, options.backend, pair=options.pair)
        elif options.command == "pair":
            since_s = time.monotonic()
            setting.set_up(lab.attach(options.name), lambda text: lab.progress(text, since_s))
        elif options.command == "ssh":
            made = lab.attach(options.name)
            words = [*made.operator.enter(), *made.hosts[options.host].ssh(*options.words)]
            os.execvp(words[0], words)  # noqa: S606 - ssh takes this program's place
        elif options.command == "power":
            print(lab.attach(options.name).hosts[options.host].order(options.order)["power"])
        elif options.command == "down":
            print("removed" if lab.stop(options.name) else "no such lab")
        else:
            for directory in lab.clean_left_overs():
                print("removed", directory)
            if not any(lab.labs().glob("*")):
                for path in image.clean_old(BACKENDS):
                    print("removed", path)
            if options.images:
                shutil.rmtree(image.cache(), ignore_errors=True)
    except LabError as error:
        print(f"scripts/vmlab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
