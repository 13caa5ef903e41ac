"""The judge of what clients notice when owners come and go (moves.py) sees each thing that must not
happen, and nothing where all is well: shown to him by made-up records."""
import os

from harness import Settings, check, sure
from moves import Execution, Record, Verdict

FAULT = 100.0


class Made:
    """Two sessions, a call of each every 0.1 s from 90 to 110 s; those of 0 move from a to b at 100."""

    def __init__(self):
        self.lines, self.ran, self.number = [], [], 0
        for tick in range(200):
            for session in (0, 1):
                tool = ("echo", "counter", "say")[tick % 3]
                when = 90 + tick / 10
                self.call(session, tool, when, "b" if session == 0 and when >= FAULT else "a")
        for session in (0, 1):
            self.lines.append(f"call\t0\t{session}\tlist\t0\t1\t2\tok\t200\t")
            self.look(session)

    def look(self, session, outcome="ok", status=200):
        self.lines.append(f"call\t0\t{session}\tlook\t0\t120000000\t120001000\t{outcome}\t{status}\t")

    def call(self, session, tool, when, who, outcome="ok", status=200, detail=None, took=0.001, runs=1):
        number = self.number
        self.number += 1
        self.lines.append(f"call\t{number}\t{session}\t{tool}\t0\t{when * 1e6:.0f}\t"
                          f"{(when + took) * 1e6:.0f}\t{outcome}\t{status}\t{detail or who}")
        for _ in range(runs):
            self.ran.append(Execution(when, who, "0", "tools/call", tool, "1", number))
        if tool == "say" and outcome == "ok":
            self.event(session, number, when)
        return number

    def event(self, session, number, when):
        self.lines.append(f"event\t{session}\t{number}\t{when * 1e6:.0f}")

    def without(self, word, number):
        place = {"call": 1, "event": 2}[word]
        self.lines = [line for line in self.lines
                      if line.split("\t")[0] != word or int(line.split("\t")[place]) != number or
                      (word == "call" and line.split("\t")[3] in ("list", "look"))]

    def judge(self):
        path = os.path.join(Settings.directory, "made.record")
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(self.lines) + "\n")
        return Verdict(Record(path, {"sent": self.number}), self.ran, 90.0, FAULT, 20)


def sees(sentence, word, change):
    with check(f"the judge sees {sentence}"):
        made = Made()
        change(made)
        problems = made.judge().problems(unknown=0)
        sure(any(line.startswith(word) for line in problems), word, "is not in", problems)


def last_say(made):
    return max(int(line.split("\t")[2]) for line in made.lines if line.startswith("event"))


def disorder(made):
    a = made.call(0, "say", 105, "b")
    b = made.call(0, "say", 106, "b")
    made.without("event", a)
    made.without("event", b)
    made.event(0, b, 106.1)
    made.event(0, a, 106.2)


def slow_rate(made):
    for number in range(0, 60, 2):
        made.without("call", number)


def run():
    with check("the judge finds nothing where all is well, and who waited how long where it moved"):
        made = Made()
        made.call(0, "echo", 100.002, "b", took=0.4)
        verdict = made.judge()
        sure(not verdict.problems(unknown=0), verdict.problems(unknown=0))
        summary = verdict.summary()
        sure(summary["moved"] == 1 and summary["wait"]["count"] == 2, summary)
    with check("the judge lets pass, where that is allowed, an error of a call with effects whose outcome "
               "nobody knows, and no other"):
        told = "-32603 session mesh: the peer that ran this request was lost; not known whether it ran"
        for tool, detail in (("echo", told), ("counter", "-32603 lost")):
            made = Made()
            made.call(0, "counter", 99.999, "a", "error", detail=told, took=0.3)
            sure(not made.judge().problems(), made.judge().problems())
            sure(made.judge().problems(unknown=0))
            made.call(0, tool, 99.999, "a", "error", detail=detail, took=0.3)
            sure(made.judge().problems(), tool, detail)
    with check("a wait is counted from the fault for what was under way, and ends with the first answer "
               "that is no error"):
        made = Made()
        made.lines = [line for line in made.lines if not (
            line.startswith("call") and line.split("\t")[2] == "0" and
            100e6 <= int(line.split("\t")[5]) < 103e6)]
        made.call(0, "echo", 99.5, "b", took=1.5)
        verdict = made.judge()
        sure(abs(max(verdict.waits) - 1.0) < 0.01, verdict.waits)
    sees("a call with effects that ran twice", "unsafe calls that ran twice",
         lambda made: made.call(0, "counter", 105, "b", runs=2))
    sees("a call without an outcome", "requests without an outcome",
         lambda made: made.without("call", 5))
    sees("a failed call", "failed requests",
         lambda made: made.call(1, "echo", 101, "a", "closed", 0, "reset"))
    sees("an answer that came too late", "requests answered after",
         lambda made: made.call(1, "echo", 101, "a", took=11))
    sees("an answer that no server gave", "answers of calls that no server ran",
         lambda made: made.call(1, "echo", 101, "a", runs=0))
    sees("an answer of a former owner", "answers of a former owner",
         lambda made: made.call(0, "echo", 105, "a"))
    sees("a session that is gone", "sessions lost",
         lambda made: (made.lines.pop(), made.look(1, "status", 404)))
    sees("an event that was lost", "events lost", lambda made: made.without("event", last_say(made)))
    sees("an event that came twice", "events double",
         lambda made: made.event(1, last_say(made), 115))
    sees("an event on another session's stream", "events on a wrong stream",
         lambda made: (made.call(0, "say", 105, "b"), made.event(1, made.number - 1, 105)))
    sees("events out of order", "events out of order", disorder)
    sees("a rate that was not reached", "void", slow_rate)
