# RUN: %python %s moe-lsp-server | FileCheck %s --dump-input=fail
# REQUIRES: python

"""An editor's session: opens a module with an error, reads the diagnostic,
repairs the module, asks what is under the cursor, and leaves."""

import json
import queue
import subprocess
import sys
import threading

TIMEOUT = 30
URI = "test:///layer.mlir"
MODULE = """\
shard.grid @ep(shape = 2)
func.func @exchange(%send: tensor<6x4xf32>, %counts: tensor<SIZExi32>) {
  %recv, %n = moe.alltoallv %send, %counts on @ep
      : (tensor<6x4xf32>, tensor<SIZExi32>)
     -> (tensor<12x4xf32>, tensor<2xi32>)
  return
}
"""


class Server:
    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.messages = queue.Queue()
        self.ids = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        stream = self.process.stdout
        while True:
            length = None
            while (line := stream.readline().strip()):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if length is None:
                return
            self.messages.put(json.loads(stream.read(length)))

    def notify(self, method, params, **extra):
        body = json.dumps(
            {"jsonrpc": "2.0", "method": method, "params": params, **extra}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def request(self, method, params):
        self.ids += 1
        self.notify(method, params, id=self.ids)
        return self.expect(lambda message: message.get("id") == self.ids)["result"]

    def expect(self, wanted):
        while True:
            message = self.messages.get(timeout=TIMEOUT)
            if wanted(message):
                return message

    def diagnostics(self):
        message = self.expect(
            lambda m: m.get("method") == "textDocument/publishDiagnostics")
        return message["params"]["diagnostics"]


def main():
    server = Server(sys.argv[1:])
    try:
        capabilities = server.request(
            "initialize", {"processId": 1, "rootUri": None, "capabilities": {}})
        print("server:", capabilities["serverInfo"]["name"])
        # CHECK: server: mlir-lsp-server

        server.notify("initialized", {})
        document = {"uri": URI, "languageId": "mlir", "version": 1,
                    "text": MODULE.replace("SIZE", "3")}
        server.notify("textDocument/didOpen", {"textDocument": document})
        for found in server.diagnostics():
            start = found["range"]["start"]
            print(f"{start['line']}:{start['character']}: {found['message']}")
        # CHECK-NEXT: 2:{{[0-9]+}}: 'moe.alltoallv' op expects {{.*}}

        server.notify("textDocument/didChange", {
            "textDocument": {"uri": URI, "version": 2},
            "contentChanges": [{"text": MODULE.replace("SIZE", "2")}]})
        print("after the repair:", server.diagnostics())
        # CHECK: after the repair: []

        hover = server.request("textDocument/hover", {
            "textDocument": {"uri": URI}, "position": {"line": 2, "character": 20}})
        print("hover:", hover["contents"]["value"].splitlines()[0])
        # CHECK-NEXT: hover: "moe.alltoallv"

        server.request("shutdown", None)
        server.notify("exit", None)
        print("exit status:", server.process.wait(timeout=TIMEOUT))
        # CHECK-NEXT: exit status: 0
    finally:
        server.process.kill()


main()
