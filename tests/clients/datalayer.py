"""
All that jupyter-kernel-client offers for a kernel; ends with status 0 if it works.

    python datalayer.py URL TOKEN [gently]
"""

import sys
import threading

from jupyter_kernel_client import JupyterKernelClient

URL, TOKEN, *HOW = sys.argv[1:]


def text(result):
    """
    What was printed.
    """
    outputs = [each for each in result["outputs"] if each["output_type"] == "stream"]
    return "".join(each["text"] for each in outputs)


def error(result):
    """
    What went wrong.
    """
    return [each["ename"] for each in result["outputs"] if each["output_type"] == "error"]


def interrupted(client):
    """
    An endless loop, which is interrupted as soon as it goes round.
    """
    outputs = []
    going = threading.Event()

    def output(message):
        outputs.append(message)
        if message["header"]["msg_type"] == "stream":
            going.set()

    def interrupt():
        if going.wait(30):
            client.interrupt()

    helper = threading.Thread(target=interrupt)
    helper.start()
    reply = client.execute_interactive(
        "print('go', flush=True)\nwhile True: pass", output_hook=output, timeout=30
    )
    helper.join()
    return reply["content"]["ename"]


client = JupyterKernelClient(server_url=URL, token=TOKEN or None)
client.start(name="python3")
if not HOW:
    assert client.is_alive()
    assert client.last_activity.year > 2000
    assert client.kernel_info["language_info"]["name"] == "python"
    result = client.execute("print('hello'); 6 * 7")
    assert (result["status"], text(result)) == ("ok", "hello\n"), result
    assert result["outputs"][-1]["data"]["text/plain"] == "42", result
    assert error(client.execute("1/0")) == ["ZeroDivisionError"]
    client.set_variable("there", [1, 2])
    assert client.get_variable("there")[0], "there and back"
    asked = client.execute(
        "print(input('? '))",
        allow_stdin=True,
        stdin_hook=lambda message: client._manager.client.input("typed"),
    )
    assert text(asked) == "typed\n", asked
    assert interrupted(client) == "KeyboardInterrupt"
    client.restart()
    assert error(client.execute("there")) == ["NameError"]
    assert [each["id"] for each in client.list_kernels()] == [client.id]
    # Another client of the same kernel, which leaves it running.
    with JupyterKernelClient(server_url=URL, token=TOKEN or None, kernel_id=client.id) as second:
        assert text(second.execute("print('second')")) == "second\n"
    assert client.is_alive()
if HOW:
    client._manager.shutdown_kernel(now=False, timeout=2)
client.stop()
print("All is well.")
