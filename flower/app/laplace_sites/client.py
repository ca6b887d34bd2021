"""The end at a site: hands a letter to the gate, and carries its answer away.

This code comes from the coordinator, and whoever sends it could send other code. It protects
nobody: the gate does, which is another process, of another user who alone can read the data.
"""

import socket

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
PATIENCE = 600.0  # seconds


@app.query("site")
def site(message: Message, context: Context) -> Message:
    """Say for which site this node carries letters."""
    return reply(message, str(context.node_config["site"]))


@app.query("letter")
def letter(message: Message, context: Context) -> Message:
    """Hand a letter to the gate."""
    text = str(message.content["letter"]["text"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gate:
        gate.settimeout(PATIENCE)
        gate.connect(str(context.node_config["gate"]))
        gate.sendall(text.replace("\n", " ").encode() + b"\n")
        with gate.makefile("rb") as stream:
            return reply(message, stream.readline().decode().rstrip("\n"))


def reply(message: Message, text: str) -> Message:
    """Return a text to the coordinator."""
    return Message(RecordDict({"letter": ConfigRecord({"text": text})}), reply_to=message)
