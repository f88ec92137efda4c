"""What a BMC's simulator calls to look at its machine's power and to change it (chassis_control, ipmi_lan(5)).

    chassis.py CONTROL-SOCKET MACHINE get PARAMETER... | set PARAMETER VALUE | check PARAMETER VALUE

Standard library only, and started by `python -I -S`: it stands in the way of every order.
"""

import json
import socket
import sys
import time


def ask(path: str, **request: object) -> dict[str, object]:
    """One request to the lab."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(30)
        channel.connect(path)
        channel.sendall(json.dumps(request).encode() + b"\n")
        with channel.makefile() as answers:
            answer: dict[str, object] = json.loads(answers.readline())
            return answer


def main() -> int:
    path, machine, verb, *words = sys.argv[1:]
    state = ask(path, do="status", machine=machine)
    time.sleep(float(str(state["bmc_delay_s"])))
    if verb == "get":
        values = {"power": int(str(state["power"]) != "off"), "boot": "default"}
        for word in words:
            print(f"{word}:{values.get(word, 0)}")
        return 0
    if verb == "set" and words[0] in ("power", "reset", "shutdown"):
        order = {"power": "on" if words[1:2] == ["1"] else "off", "reset": "reset", "shutdown": "off"}[words[0]]
        return 0 if ask(path, do=order, machine=machine)["ok"] else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
