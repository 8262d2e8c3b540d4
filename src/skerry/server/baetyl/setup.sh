#!/bin/sh
# Installs the agent of Skerry on this device and starts it; may be run again, which replaces what it installed before.
#
#   sh setup.sh
#
# SKERRY_HOME   where everything goes: /var/lib/skerry-agent for root, ~/.skerry-agent for anybody else
# PYTHON        the Python that runs the agent: python3
# SKERRY_START  "background": start the agent without systemd, even where there is one
#
# Written there: agent.json (addresses, authority, credentials: for its owner alone), ca.pem, runtime/ (the program),
# data/ (what the agent keeps), bin/skerry, and without systemd agent.pid and agent.log.
set -eu

addresses=@ADDRESSES@ # of the control plane, with blanks between
token=@TOKEN@
runtime_sha256=@SHA256@
runtime_python=@PYTHON@
runtime_machine=@MACHINE@
unit=skerry-agent.service

say() { printf 'skerry: %s\n' "$*"; }
fail() {
    say "$*" >&2
    exit 1
}

check() {
    for tool in curl tar gzip "$python"; do
        command -v "$tool" >/dev/null || fail "$tool is needed and not on the PATH"
    done
    [ "$(uname -m)" = "$runtime_machine" ] ||
        fail "this device is $(uname -m), and the control plane has a program for $runtime_machine"
    found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ "$found" = "$runtime_python" ] ||
        fail "$python is Python $found, and the program needs $runtime_python: set PYTHON to one of that version"
}

write_authority() {
    cat >"$home/ca.pem" <<'CERTIFICATE'
@AUTHORITY@
CERTIFICATE
}

# fetch NAME FILE: from the first address that has it
fetch() {
    for address in $addresses; do
        if curl --fail --silent --show-error --location --cacert "$home/ca.pem" --connect-timeout 10 --retry 3 \
            --output "$2" "$address/v1/init/$1?token=$token"; then
            return 0
        fi
    done
    fail "the control plane did not give $1: is the install command older than an hour, or used already?"
}

install_program() {
    program=$home/runtime/$runtime_sha256
    [ -d "$program" ] && return 0
    draft=$home/runtime/incoming
    rm -rf "$draft"
    mkdir -p "$draft"
    fetch skerry-runtime.tar.gz "$draft/runtime.tar.gz"
    "$python" - "$draft/runtime.tar.gz" "$runtime_sha256" <<'PROGRAM' || fail "the program that came is damaged: try again"
import hashlib, sys
with open(sys.argv[1], "rb") as file:
    sys.exit(hashlib.file_digest(file, "sha256").hexdigest() != sys.argv[2])
PROGRAM
    tar -xzf "$draft/runtime.tar.gz" -C "$draft"
    rm "$draft/runtime.tar.gz"
    mv "$draft" "$program"
    chmod -R go+rX "$home/runtime" # programs have users of their own, and the program starts them
}

write_command() {
    mkdir -p "$home/bin"
    cat >"$home/bin/skerry" <<COMMAND
#!/bin/sh
PYTHONPATH='$program/lib' exec '$(command -v "$python")' -S -m skerry "\$@"
COMMAND
    chmod 700 "$home/bin/skerry"
}

start_with_systemd() {
    cat >"/etc/systemd/system/$unit" <<UNIT
[Unit]
Description=Agent of Skerry
After=network-online.target
Wants=network-online.target

[Service]
ExecStart="$home/bin/skerry" agent --config "$home/agent.json"
Restart=always
RestartSec=5
KillMode=mixed

[Install]
WantedBy=multi-user.target
UNIT
    systemctl daemon-reload
    systemctl enable "$unit"
    systemctl restart "$unit"
}

stop_before() {
    [ -f "$home/agent.pid" ] || return 0
    before=$(cat "$home/agent.pid")
    # A process of that number that is not ours is left alone.
    if cat "/proc/$before/cmdline" 2>/dev/null | tr '\0' ' ' | grep -qF "$home/agent.json"; then
        kill "$before"
        seconds=30 # to end its applications
        while kill -0 "$before" 2>/dev/null && [ "$seconds" -gt 0 ]; do
            sleep 1
            seconds=$((seconds - 1))
        done
        kill -9 "$before" 2>/dev/null || true
    fi
    rm -f "$home/agent.pid"
}

start_in_background() {
    stop_before
    nohup "$home/bin/skerry" agent --config "$home/agent.json" >>"$home/agent.log" 2>&1 </dev/null &
    echo $! >"$home/agent.pid"
}

# What ran before has ended: its program is a few hundred megabytes.
remove_other_programs() {
    for other in "$home/runtime"/*; do
        [ "$other" = "$program" ] || rm -rf "$other"
    done
}

[ "$(id -u)" = 0 ] && home=/var/lib/skerry-agent || home=$HOME/.skerry-agent
home=${SKERRY_HOME:-$home}
python=${PYTHON:-python3}
umask 077
check
mkdir -p "$home/runtime" "$home/data"
chmod go+x "$home"
write_authority
install_program
fetch agent.json "$home/agent.json.new"
mv "$home/agent.json.new" "$home/agent.json"
write_command
if [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] && [ "${SKERRY_START:-}" != background ]; then
    start_with_systemd
    say "the agent runs: systemctl status $unit"
else
    start_in_background
    say "the agent runs: its log is $home/agent.log, its process id in $home/agent.pid"
fi
remove_other_programs
