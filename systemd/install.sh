#!/usr/bin/env bash
# install.sh install | uninstall
#
# Installs the trader of this checkout as a systemd service, or takes it away again. Run by `make install`
# and `make uninstall`, as root. What an owner may have changed or earned (configuration, ledger, logs) is
# kept by both; `make uninstall PURGE=1` removes it too.
#
#   PREFIX   where the program goes                       /opt/trader
#   PYTHON   the interpreter, 3.11 or newer               /usr/bin/python3
#   UNITDIR  where the unit goes                          /etc/systemd/system
#   BINDIR   where the command `trader` goes              /usr/local/bin
set -euo pipefail

PREFIX=$(realpath -m -- "${PREFIX:-/opt/trader}")
PYTHON=${PYTHON:-/usr/bin/python3}
UNITDIR=${UNITDIR:-/etc/systemd/system}
BINDIR=${BINDIR:-/usr/local/bin}
SOURCE=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")

UNIT=$UNITDIR/trader.service
UNITS="$UNIT $UNITDIR/trader@.service $UNITDIR/trader.socket $UNITDIR/trader-port.service $UNITDIR/trader-alert@.service"
DROPIN=$UNITDIR/trader.service.d/50-interpreter.conf
SYSUSERS=/usr/lib/sysusers.d/trader.conf
TMPFILES=/usr/lib/tmpfiles.d/trader.conf
CONFIG=/etc/trader/trader.yaml
MARK=$PREFIX/.installed-by-trader
# everything the sandbox lets execute, and everything it hides
EXECUTABLE='/usr /lib /lib64 /bin /sbin'
HIDDEN='/root /home /run/user /tmp /var/tmp'

say() { echo "trader: $*"; }
refuse() { echo "trader: not installed: $*" >&2; exit 1; }
is_below() { [[ $1/ == "$2"/* ]]; }
is_booted() { [[ -d /run/systemd/system ]]; }

check_machine() {
  ((EUID == 0)) || refuse "run it as root (sudo make install)"
  command -v systemctl >/dev/null || refuse "there is no systemd here"
  local folder
  for folder in $HIDDEN; do
    ! is_below "$PREFIX" "$folder" || refuse "PREFIX=$PREFIX is below $folder, which the service can not see"
  done
  [[ ! -e $PREFIX || -e $MARK || -z $(ls -A -- "$PREFIX") ]] || refuse "$PREFIX exists and is not ours; choose another PREFIX"
}

# Run a command with the rights of nobody in particular: what nobody can do, the service's user can.
# By way of a shell, because setpriv itself still has root's rights while it looks for the program.
as_nobody() {
  # shellcheck disable=SC2016
  setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs -- sh -c 'exec "$0" "$@"' "$@"
}

# Print the first part of a path that keeps others out.
first_obstacle() {
  local path=/ part parts
  IFS=/ read -ra parts <<<"${1#/}"
  for part in "${parts[@]}"; do
    path=${path%/}/$part
    as_nobody test -x "$path" || { echo "$path ($(stat -c 'mode %a, owner %U' -- "$path"))"; return; }
  done
  echo "$1"
}

check_interpreter() {
  local found real version folder
  found=$(command -v -- "$PYTHON") || refuse "PYTHON=$PYTHON does not exist"
  real=$(readlink -f -- "$found")
  for folder in $HIDDEN; do
    ! is_below "$real" "$folder" || refuse \
      "PYTHON=$PYTHON is $real, and the service can not see $folder; use PYTHON=/usr/bin/python3"
  done
  (cd / && as_nobody "$real" -I -c '') 2>/dev/null || refuse \
    "PYTHON=$PYTHON is $real, which the service's user can not execute because of $(first_obstacle "$real"); use PYTHON=/usr/bin/python3"
  version=$("$real" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  "$real" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' || refuse \
    "PYTHON=$PYTHON is Python $version, and 3.11 or newer is needed"
  "$real" -I -c 'import venv, ensurepip' 2>/dev/null || refuse \
    "PYTHON=$PYTHON can not make virtual environments (on Debian: apt-get install python3-venv)"
  INTERPRETER=$real
  INTERPRETER_HOME=$("$real" -I -c 'import sys; print(sys.base_prefix)')
}

# The environment is made anew only when the lock file or the interpreter has changed.
install_environment() {
  local key
  key=$(cat -- "$SOURCE/requirements.lock" <(echo "$INTERPRETER") | sha256sum | cut -d' ' -f1)
  if [[ $(cat -- "$PREFIX/venv/.lock" 2>/dev/null) == "$key" ]]; then return; fi
  say "installing the locked dependencies into $PREFIX/venv"
  rm -rf -- "$PREFIX/venv"
  "$INTERPRETER" -m venv "$PREFIX/venv"
  "$PREFIX/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    --require-hashes --requirement "$SOURCE/requirements.lock"
  "$PREFIX/venv/bin/python" -m compileall -q "$PREFIX/venv/lib" >/dev/null || true # templates that are no Python
  echo "$key" >"$PREFIX/venv/.lock"
}

# Copied beside the old code and then swapped, so that a half-copied program is never there to be started.
install_program() {
  local site
  site=$("$PREFIX/venv/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  rm -rf -- "$site/trader.new" "$site/trader.old"
  cp -R -- "$SOURCE/trader" "$site/trader.new"
  find "$site/trader.new" -name __pycache__ -prune -exec rm -rf -- {} +
  [[ ! -e $site/trader ]] || mv -- "$site/trader" "$site/trader.old"
  mv -- "$site/trader.new" "$site/trader"
  rm -rf -- "$site/trader.old"
  "$PREFIX/venv/bin/python" -m compileall -q "$site/trader"
  chmod -R a+rX -- "$PREFIX"
}

install_unit() {
  install -D -m 644 -- "$SOURCE/systemd/trader.sysusers" "$SYSUSERS"
  systemd-sysusers "$SYSUSERS"
  install -D -m 644 -- "$SOURCE/systemd/trader.tmpfiles" "$TMPFILES"
  install -d -m 755 -- "$UNITDIR"
  local name
  for name in trader.service trader.socket trader-port.service trader-alert@.service; do
    sed "s|/opt/trader|$PREFIX|g" -- "$SOURCE/systemd/$name" >"$UNITDIR/$name"
  done
  make_template <"$UNIT" >"$UNITDIR/trader@.service"
  # shellcheck disable=SC2086
  chmod 644 -- $UNITS
  install_dropin
  install_backoff
}

# trader@NAME.service: the same unit with folders, configuration and keys of its own, and without the socket.
make_template() {
  sed -E \
    -e 's|^Description=.*|Description=Autonomous crypto trader: %i|' \
    -e 's,/(var/lib|var/log|run)/trader\>,/\1/trader-%i,g' \
    -e 's,^((State|Logs|Runtime)Directory)=trader$,\1=trader-%i,' \
    -e 's|/etc/trader/trader\.yaml|/etc/trader/%i.yaml|' \
    -e 's|^LoadCredential=trader\.(.*)|LoadCredential=trader.\1:trader-%i.\1|' \
    -e 's|^SyslogIdentifier=.*|SyslogIdentifier=trader-%i|' \
    -e '/^# the dashboard.s port, held/,/trader\.socket.$/d'
}

# What systemd 254 and later can do: wait longer from restart to restart.
install_backoff() {
  local folder=$UNITDIR/trader.service.d
  rm -f -- "$folder/60-backoff.conf"
  if (($(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p') >= 254)); then
    install -d -m 755 -- "$folder"
    printf '[Service]\nRestartSteps=4\nRestartMaxDelaySec=60s\n' >"$folder/60-backoff.conf"
  fi
}

# An interpreter outside the system's folders has to be allowed to execute.
install_dropin() {
  local folder
  rm -f -- "$DROPIN"
  for folder in $EXECUTABLE "$PREFIX"; do
    if is_below "$INTERPRETER" "$folder"; then return; fi
  done
  install -d -m 755 -- "$(dirname -- "$DROPIN")"
  printf '# %s\n[Service]\nExecPaths=%s\n' "the interpreter that it was installed with" "$INTERPRETER_HOME" >"$DROPIN"
}

install_config() {
  install -d -m 750 -o root -g trader -- "$(dirname -- "$CONFIG")"
  if [[ -e $CONFIG ]]; then
    say "keeping $CONFIG"
  else
    install -m 640 -o root -g trader -- "$SOURCE/etc/trader.yaml" "$CONFIG"
  fi
}

# As root the command becomes the service's user first: a file that root leaves in the data folder could not
# be written by the service any more.
install_command() {
  install -d -m 755 -- "$BINDIR"
  cat >"$BINDIR/trader" <<COMMAND
#!/bin/sh
# the command of the trader that is installed as a service
export TRADER_CONFIG="\${TRADER_CONFIG:-$CONFIG}"
export TRADER_DATA_DIR="\${TRADER_DATA_DIR:-/var/lib/trader}"
if [ "\$(id -u)" = 0 ]; then
    export HOME=/var/lib/trader
    exec setpriv --reuid=trader --regid=trader --init-groups -- $PREFIX/venv/bin/python -m trader "\$@"
fi
exec $PREFIX/venv/bin/python -m trader "\$@"
COMMAND
  chmod 755 -- "$BINDIR/trader"
}

do_install() {
  check_machine
  check_interpreter
  umask 022
  install -d -m 755 -- "$PREFIX"
  touch -- "$MARK"
  install_environment
  install_program
  install_unit
  install_config
  install_command
  if is_booted; then systemctl daemon-reload; fi
  say "installed in $PREFIX; configuration: $CONFIG"
  if is_booted && systemctl is-active --quiet trader; then
    say "the old version still runs; go over to the new one with: systemctl restart trader"
  else
    say "start it with: systemctl enable --now trader"
  fi
}

do_uninstall() {
  ((EUID == 0)) || { echo "trader: run it as root (sudo make uninstall)" >&2; exit 1; }
  if is_booted && [[ -e $UNIT ]]; then
    systemctl disable --now --quiet trader
    systemctl stop --quiet 'trader@*' trader.socket || true # none of them may be there
  fi
  # shellcheck disable=SC2086
  rm -f -- $UNITS "$DROPIN" "$UNITDIR/trader.service.d/60-backoff.conf" "$BINDIR/trader" "$SYSUSERS" "$TMPFILES"
  rmdir --ignore-fail-on-non-empty -- "$(dirname -- "$DROPIN")" 2>/dev/null || true
  if [[ -e $MARK ]]; then rm -rf -- "$PREFIX"; fi
  if is_booted; then systemctl daemon-reload; systemctl reset-failed trader 2>/dev/null || true; fi
  if [[ ${PURGE:-0} == 1 ]]; then
    rm -rf -- /etc/trader /var/lib/trader /var/cache/trader /var/log/trader
    if getent passwd trader >/dev/null; then userdel trader; fi
    say "removed, with configuration, ledger and logs"
  else
    rm -rf -- /var/cache/trader
    say "removed; kept: /etc/trader /var/lib/trader /var/log/trader and the user trader (make uninstall PURGE=1 removes them)"
  fi
}

case ${1:-} in
  install) do_install ;;
  uninstall) do_uninstall ;;
  *) echo "usage: $0 install | uninstall" >&2; exit 2 ;;
esac
