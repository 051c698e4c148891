"""Where an instance's files are, for the service and for commands."""

import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from trader.config.sections import Config
from trader.errors import StateError
from trader.state import paths as module
from trader.state.paths import base_dir, find, locate, make_folders, remove_runtime
from trader.state.reader import StateReader

VARIABLES = ("TRADER_DATA_DIR", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "LOGS_DIRECTORY")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Stand in an empty folder, without the environment of a service, and with a tmpfs of our own."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shm = tmp_path / "shm"
    shm.mkdir()
    monkeypatch.setattr(module, "SHM", shm)
    return tmp_path


def test_base_dir_takes_the_first_that_is_named(here, monkeypatch):
    """--data-dir, $TRADER_DATA_DIR, $STATE_DIRECTORY, the current folder."""
    assert base_dir() == here
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/trader:/var/lib/other")
    assert str(base_dir()) == "/var/lib/trader"
    monkeypatch.setenv("TRADER_DATA_DIR", "sub")
    assert base_dir() == here / "sub"
    assert base_dir(here / "given") == here / "given"


def test_locate_puts_data_below_the_base_and_the_rest_on_the_tmpfs(here):
    """The defaults, as `make run` has them."""
    paths = locate(None, Config())
    assert paths.data_dir == here / "data"
    assert paths.log_dir == here / "data" / "logs"
    assert paths.runtime_dir.parent == here / "shm"
    assert paths.runtime_dir.name.startswith(f"trader-{os.geteuid()}-")


def test_locate_takes_the_folders_that_systemd_made(here, monkeypatch):
    """Systemd owns their modes and their removal."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/trader:/run/other")
    monkeypatch.setenv("LOGS_DIRECTORY", "/var/log/trader")
    paths = locate(here, Config())
    assert (str(paths.runtime_dir), str(paths.log_dir)) == ("/run/trader", "/var/log/trader")


def test_locate_takes_absolute_folders_as_they_are(here):
    """An owner may put ledger and logs anywhere."""
    config = SimpleNamespace(data_dir="/srv/ledger", logging=SimpleNamespace(dir="/srv/logs"))
    paths = locate(here, config)
    assert (str(paths.data_dir), str(paths.log_dir)) == ("/srv/ledger", "/srv/logs")


def test_locate_gives_one_data_folder_one_runtime_folder(here):
    """However it is spelt; and another data folder another one."""
    (here / "data").mkdir()
    (here / "alias").symlink_to(here / "data")
    plain, alias, other = (
        locate(here, SimpleNamespace(data_dir=name, logging=SimpleNamespace(dir="logs"))).runtime_dir
        for name in ("data", "alias", "other")
    )
    assert plain == alias != other


def test_make_folders_makes_private_folders_and_the_link(here):
    """A second time changes nothing."""
    paths = locate(None, Config())
    for _ in range(2):
        make_folders(paths)
        assert paths.runtime_dir.stat().st_mode & 0o777 == 0o700
        assert paths.data_dir.stat().st_mode & 0o777 == 0o700
        assert paths.runtime_link.resolve() == paths.runtime_dir
    assert sorted(path.name for path in paths.data_dir.iterdir()) == ["run"]


def test_make_folders_refuses_a_link_in_place_of_the_runtime_folder(here):
    """Anybody may write on the tmpfs: a planted link would put our memory in their folder."""
    paths = locate(None, Config())
    (here / "elsewhere").mkdir()
    paths.runtime_dir.symlink_to(here / "elsewhere")
    with pytest.raises(StateError, match="no folder but a link"):
        make_folders(paths)


def test_make_folders_refuses_a_foreign_runtime_folder(here, monkeypatch):
    """A folder of that name that another user made."""
    paths = locate(None, Config())
    paths.runtime_dir.mkdir(0o700)
    if os.geteuid() == 0:
        os.chown(paths.runtime_dir, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(StateError, match="belongs to user"):
        make_folders(paths)


def test_make_folders_refuses_a_runtime_folder_that_others_may_write(here):
    """They could exchange the segments in it."""
    paths = locate(None, Config())
    paths.runtime_dir.mkdir()
    paths.runtime_dir.chmod(0o777)
    with pytest.raises(StateError, match="mode 0777"):
        make_folders(paths)


def test_make_folders_on_a_file_says_what_is_in_the_way(here):
    """The data folder's place is taken."""
    (here / "data").touch()
    with pytest.raises(StateError, match=r"data: the data folder can not be made: File exists"):
        make_folders(locate(None, Config()))


def test_find_follows_the_link_of_a_running_service(here):
    """A command has neither the service's environment nor its working folder."""
    paths = locate(here, SimpleNamespace(data_dir="data", logging=SimpleNamespace(dir="logs")))
    service = module.InstancePaths(paths.data_dir, here / "run-of-systemd", paths.log_dir)
    make_folders(service)
    for base in (None, here, here / "data"):
        assert find(base).runtime_dir == here / "run-of-systemd"
        assert find(base).data_dir == here / "data"
        assert find(base, Config()).data_dir == here / "data"


def test_find_takes_a_folder_with_a_ledger_as_the_data_folder(here):
    """A copy of a data folder can be audited anywhere."""
    (here / "ledger.db").touch()
    assert find(here).data_dir == here


def test_find_a_folder_called_run_is_no_sign_of_a_data_folder(here):
    """In / there is a folder /run."""
    (here / "run").mkdir()
    assert find(here).data_dir == here / "data"


def test_find_with_a_configuration_looks_where_it_says(here):
    """Another data_dir than the default."""
    config = SimpleNamespace(data_dir="other", logging=SimpleNamespace(dir="log"))
    assert (find(here, config).data_dir, find(here, config).log_dir) == (here / "other", here / "other" / "log")


@contextmanager
def _locked_out(folder):
    """Be a user who may not look into a folder; root may look everywhere, and so steps down."""
    user = os.geteuid()
    folder.chmod(0)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)
        folder.chmod(0o700)


def test_find_in_a_folder_of_another_user_says_whom_to_ask_as(here):
    """The service's data is private; an operator gets no traceback."""
    (here / "data").mkdir()
    with _locked_out(here / "data"), pytest.raises(StateError, match="may not look there; ask as root"):
        find(here / "data")


def test_reader_in_a_folder_of_another_user_says_whom_to_ask_as(here):
    """Not allowed to look is told apart from not running."""
    (here / "run").mkdir()
    reader = StateReader(module.InstancePaths(here, here / "run", here))
    with _locked_out(here / "run"), pytest.raises(StateError, match="may not look into it; ask as root"):
        reader.service()


def test_remove_runtime_removes_link_and_folder(here):
    """A stopped service leaves nothing on the tmpfs."""
    paths = locate(None, Config())
    make_folders(paths)
    remove_runtime(paths)
    assert not paths.runtime_dir.exists()
    assert not paths.runtime_link.is_symlink()
    assert paths.data_dir.exists()


def test_remove_runtime_leaves_what_is_not_ours(here, monkeypatch):
    """A folder with something in it, a folder of systemd's, a link to another service's."""
    paths = locate(None, Config())
    make_folders(paths)
    (paths.runtime_dir / "something").touch()
    paths.runtime_link.unlink()
    paths.runtime_link.symlink_to("elsewhere")
    remove_runtime(paths)
    assert paths.runtime_dir.exists()
    assert paths.runtime_link.is_symlink()
    (paths.runtime_dir / "something").unlink()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(paths.runtime_dir))
    remove_runtime(paths)
    assert paths.runtime_dir.exists()
