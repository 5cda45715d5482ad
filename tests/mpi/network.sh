#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a program in two processes of Open MPI, each in a network of its own, that are joined by a
# cable alone: network.sh PROGRAM [ARGUMENTS]. Ends with 77 where that is not allowed here.
set -eu
name="meanflow-$$"
agent=$(mktemp)
clean() {
  ip netns del "$name-1" 2>/dev/null || true
  ip netns del "$name-2" 2>/dev/null || true
  rm -f "$agent"
}
trap clean EXIT
skip() { echo "skipped: $1"; exit 77; }

mpirun --version 2>/dev/null | grep -q "Open MPI" || skip "it takes Open MPI's mpirun"
command -v ip >/dev/null || skip "there is no program ip"
ip netns add "$name-1" 2>/dev/null && ip netns add "$name-2" 2>/dev/null || skip "networks cannot be made here"
ip link add "v$$a" netns "$name-1" type veth peer name "v$$b" netns "$name-2" 2>/dev/null || skip "cables cannot be made here"
ip -n "$name-1" addr add 10.77.0.1/24 dev "v$$a"
ip -n "$name-2" addr add 10.77.0.2/24 dev "v$$b"
for end in "1 v$$a" "2 v$$b"; do
  ip -n "$name-${end%% *}" link set "${end##* }" up
  ip -n "$name-${end%% *}" link set lo up
done

# What Open MPI calls in place of ssh: AGENT HOST COMMAND...
cat > "$agent" <<AGENT
#!/bin/sh
host=\$1; shift
exec ip netns exec "$name-\${host##*.}" sh -c "\$*"
AGENT
chmod +x "$agent"
ip netns exec "$name-1" mpirun --host 10.77.0.1,10.77.0.2 -n 2 --mca plm_rsh_agent "$agent" \
  --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 "$@"
