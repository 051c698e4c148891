"""Faults 15 to 18: a configuration that is wrong at start, wrong on reload, or wrong only later."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest
import yaml

from tests.faults.stage import WORKERS, Stage, busy_config
from trader.codes import ServiceState
from trader.supervisor.hangups import LONGEST_S

#: what an owner gets wrong, in every way that a file can be wrong
BROKEN = {
    "a limit that is no number": "risk: {max_open_positions: many}\n",
    "a key that does not exist": "risk: {max_open_position: 3}\n",
    "no YAML": "risk: [unclosed\n",
    "not a mapping": "- just\n- a list\n",
    "half a file": "market: {symbols: [BTC/USDT, ETH/US",
    "not text": "\x00\x01\x02 \x7f\n",
}
#: what only whoever loads the strategies can find
UNKNOWN_STRATEGY = "tests.faults.strategies:Bsuy"


def positions_limit(stage: Stage) -> int:
    """Return the limit that the engine has in force."""
    record = stage.look(lambda reader: reader.limits())
    return -1 if record is None else int(record["max_open_positions"])


def with_limit(limit: int) -> dict:
    """Return the busy configuration with another limit."""
    config = busy_config()
    return {**config, "risk": {**config["risk"], "max_open_positions": limit}}


@pytest.mark.slow
def test_fault_15_invalid_configuration_at_start(fault):
    """Exit 78 with file, line and key, before anything is made; every kind of wrong file."""
    fault.is_(
        15,
        "invalid configuration at start",
        done=f"`trader run` on {len(BROKEN)} kinds of broken file",
        expected="exit 78 with FILE:LINE, no process left, no ledger begun (systemd does not try again: below)",
    )
    for trial in fault.trials(1):
        for index, text in enumerate(BROKEN.values()):
            stage = trial.stage({}, f"broken-{index}")
            stage.config_file.write_text(text)
            started = time.monotonic()
            assert stage.run(60) == 78, (text, stage.text())
            assert f"{stage.config_file}:" in stage.text(), stage.text()
            assert "Traceback" not in stage.text()
            assert not stage.paths.ledger.exists()
            assert not stage.paths.runtime_dir.exists()
            fault.recovered(time.monotonic() - started)
    fault.happened("exit 78 each time, file and line named, nothing made (the time is the one to the refusal)")


@pytest.mark.slow
def test_fault_15_invalid_configuration_after_an_unclean_end(fault):
    """Positions may be open: the service runs on the last good file, reduce-only, and says so."""
    fault.is_(
        15,
        "invalid configuration after a crash",
        done="SIGKILL to the supervisor with positions open; the file is broken; `trader run`",
        expected="runs on last-good.yaml, reduce-only, loud; after a clean stop the same file gives 78",
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        last_good = stage.paths.data_dir / "last-good.yaml"
        stage.after(last_good.exists, "last-good.yaml", 60)
        stage.kill()
        good = stage.config_file.read_text()
        stage.config_file.write_text(trial.rng.choice(list(BROKEN.values())))
        stage.output.unlink()
        stage.start()
        started = time.monotonic()
        stage.after(lambda: stage.state() in (ServiceState.RUNNING, ServiceState.DEGRADED), "the service", 60)
        stage.market_moves()
        entries = stage.entries()
        for _ in range(8):  # candles at which the strategy wants to enter, in every symbol
            stage.market_moves()
        assert stage.entries() == entries, "reduce-only"
        assert "last-good.yaml" in stage.text()
        assert "reduce" in stage.text().lower()
        assert stage.stop() == 0
        assert stage.run(60) == 78
        stage.config_file.write_text(good)
        stage.up()
        stage.trades_again()
        fault.recovered(time.monotonic() - started)
        stage.verified()
    fault.happened("ran reduce-only on last-good.yaml; 78 after the clean stop; traded again with the good file")


def test_fault_16_invalid_configuration_on_reload(fault):
    """Refused by command and by signal; the old one stays in force and trading does not notice."""
    fault.is_(
        16,
        "invalid configuration on reload",
        done=f"`trader reload` and SIGHUP on {len(BROKEN)} kinds of broken file, then on a good one",
        expected="rejected with FILE:LINE, old configuration in force, nobody restarted; the good one is taken",
    )
    for trial in fault.trials():
        stage = trial.stage(with_limit(5))
        stage.up_and_trading()
        pids, epoch = stage.pids(), stage.service_number("config_epoch")
        kinds = list(BROKEN.values())
        trial.rng.shuffle(kinds)
        for text in kinds:
            stage.config_file.write_text(text)
            refused = stage.command("reload", "--wait")
            assert refused.returncode not in (0, None), refused.stdout
            assert str(stage.config_file) in refused.stderr, refused.stderr
        rejected = stage.service_number("reload_rejected")
        stage.send("supervisor", signal.SIGHUP)
        stage.after(lambda n=rejected, stage=stage: stage.service_number("reload_rejected") == n + 1, "the refusal")
        assert rejected == len(kinds)
        assert stage.service_number("config_epoch") == epoch
        assert positions_limit(stage) == 5
        assert stage.pids() == pids
        stage.configure(with_limit(4))
        started = time.monotonic()
        good = stage.command("reload", "--wait")
        assert good.returncode == 0, good.stderr
        assert positions_limit(stage) == 4
        fault.recovered(time.monotonic() - started)
        stage.trades_again()
        assert stage.pids() == pids
    fault.happened("each refused by name and line, old limit in force, same processes; the good file taken")


@pytest.mark.slow
def test_fault_16_unknown_strategy_on_reload(fault):
    """What only the strategies' own loader can find is refused as early: nobody is restarted for it."""
    fault.is_(
        16,
        "unknown strategy on reload",
        done="`trader reload` on a file whose strategy does not exist, then `trader run` on it",
        expected="rejected by FILE:LINE: key, nobody restarted, entries go on; at start exit 78 with FILE:LINE",
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config())
        stage.up_and_trading()
        pids, config = stage.pids(), busy_config()
        config["strategies"][0]["use"] = UNKNOWN_STRATEGY
        stage.configure(config)
        refused = stage.command("reload", "--wait")
        assert refused.returncode not in (0, None)
        line = re.escape(str(stage.config_file)) + r":\d+: strategies\.0\.use: "
        assert re.search(line, refused.stderr), refused.stderr
        assert stage.pids() == pids
        fault.recovered(stage.trades_again())
        assert stage.stop() == 0
        stage.output.unlink()
        assert stage.run(60) == 78
        assert re.search(r"trader\.yaml:\d+: strategies\.0\.use", stage.text()), stage.text()
    fault.happened("refused by file, line and key, same processes, entries went on; 78 with line and key at start")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["engine", "dashboard"])
def test_fault_17_worker_fails_after_a_good_reload(fault, what):
    """A configuration that is valid and yet kills a worker within its probation is taken back."""
    fault.is_(
        17,
        f"reload ok, {what} fails after",
        done="a reload to a strategy that kills the engine" if what == "engine" else "a reload to a port that is taken",
        expected="automatic roll-back within the probation; the old configuration trades on",
    )
    for trial in fault.trials():
        stage = trial.stage(busy_config("Dying"))
        stage.up_and_trading()
        with TakenPort() as port:
            if what == "engine":
                stage.configure(busy_config("Dying", params={"die": True}))
            else:
                stage.configure({**busy_config("Dying"), "dashboard": {"port": port}})
            started = time.monotonic()
            stage.command("reload", "--wait")
            stage.after(lambda: stage.service_number("reload_rejected") >= 1, "the roll-back", 60)
            stage.after(stage.is_whole, "everyone on the old configuration", 60)
            stage.trades_again()
            fault.recovered(time.monotonic() - started)
        assert stage.command("status").returncode == 0
        stage.verified()
        assert stage.stop() == 0
    fault.happened("rolled back by itself; everyone up on the old configuration; entries went on")


def settled_reloads(stage: Stage) -> int:
    """Return how many reloads there were, once no signal waits for one any more."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < LONGEST_S:
        now = stage.service_number("reloads") + stage.service_number("reload_rejected")
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.05)
    return seen


class TakenPort:
    """A port that somebody else listens on."""

    def __enter__(self) -> int:
        import socket

        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen()
        return int(self.socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def catches(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler for a signal."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


@pytest.mark.slow
def test_fault_18_hup_before_ready(fault):
    """From the moment that a handler can exist a SIGHUP waits for the start to end, and is one reload then."""
    fault.is_(
        18,
        "HUP before ready",
        done="SIGHUP every 20 ms from the first moment with a handler until RUNNING",
        expected="nobody dies, READY as always, the pending SIGHUP is one reload afterwards",
    )
    unguarded = []
    for trial in fault.trials():
        stage = trial.stage(with_limit(5))
        process = stage.start()
        started = time.monotonic()
        while not catches(process.pid, signal.SIGHUP):
            assert process.poll() is None
            time.sleep(0.001)
        unguarded.append(time.monotonic() - started)
        sent = 0
        while not stage.is_whole():
            assert process.poll() is None, stage.text()
            process.send_signal(signal.SIGHUP)
            sent += 1
            time.sleep(0.02)
            assert time.monotonic() - started < 120
        fault.recovered(time.monotonic() - started)
        stage.after(lambda: stage.service_number("reloads") >= 1, "the reload that waited")
        assert stage.service_number("reload_rejected") == 0
        assert all(stage.worker(role)["generation"] == 1 for role in WORKERS)
        stage.trades_again()
    fault.happened(
        f"up in spite of {sent} signals; the program is without a handler for its first {max(unguarded) * 1e3:.0f} ms,"
        " which systemd covers (RestartForceExitStatus=SIGHUP)"
    )


@pytest.mark.slow
def test_fault_18_hup_storm(fault):
    """200 signals at once are a handful of reloads, the last of which has read the last file."""
    fault.is_(
        18,
        "HUP storm",
        done="200 SIGHUPs within a second, in bursts, the file changing between good and bad",
        expected="coalesced into few reloads; the last good file is in force; nobody restarted",
    )
    reloads = []
    for trial in fault.trials():
        stage = trial.stage(with_limit(5))
        stage.up_and_trading()
        pids = stage.pids()
        for burst in range(5):
            limit = trial.rng.randrange(2, 9)
            text = trial.rng.choice(list(BROKEN.values())) if burst == 2 else yaml.safe_dump(with_limit(limit))
            fresh = stage.config_file.with_suffix(".new")
            fresh.write_text(text)
            fresh.rename(stage.config_file)
            for _ in range(40):
                stage.send("supervisor", signal.SIGHUP)
            time.sleep(trial.rng.uniform(0, 0.2))
        started = time.monotonic()
        stage.after(lambda: positions_limit(stage) == limit, "the last file in force")
        stage.after(stage.is_whole, "the end of the reloads")
        fault.recovered(time.monotonic() - started)
        reloads.append(settled_reloads(stage))
        assert 1 <= reloads[-1] <= 6
        assert stage.pids() == pids
        stage.trades_again()
        stage.verified()
    fault.happened(f"200 signals were at most {max(reloads)} reloads; the last file in force; same processes")
