"""A function for each way in which a script can fail."""

import os
import pickle
import signal
import time

import handover


def good():
    handover.commit()


def exception():
    raise ValueError("no such column")


def syntax_error():
    import broken  # noqa: F401


def exit_code():
    raise SystemExit(3)


def killed():
    os.kill(os.getpid(), signal.SIGSEGV)


def memory():
    taken = []
    while len(taken) < 250:
        taken.append(bytearray(4 << 20))
        time.sleep(0.005)


def forks():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    handover.commit()


def disk():
    for number in range(200):
        with open(f"{handover.FOLDER}/out/files/{number}", "wb") as file:
            file.write(b"x" * 1_000_000)
        time.sleep(0.005)


def endless():
    time.sleep(1000)


def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)


def progress():
    step = 0
    while not os.path.exists(f"{handover.FOLDER}/go"):
        step += 1
        handover.progress(0.4, f"step {step}", {"loss": 0.5})
        time.sleep(0.1)
    handover.commit()


def nothing():
    pass


def twice():
    handover.commit()
    handover.fail("commit-twice", "commit_weights was called a second time", "Traceback\n  train.py\nCommittedTwice")


def nan():
    handover.commit([float("nan"), 0.0, 0.0])


def shapes():
    handover.commit([1.0, 2.0])


def names():
    handover.commit(name="v")


def pickled():
    with open(handover.WEIGHTS, "wb") as file:
        pickle.dump({"w": [1.0, 2.0, 3.0]}, file)
