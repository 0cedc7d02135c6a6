#!/bin/sh
# What a switch of the tip costs bitcoind: the chain in FILE (of `caesure generate`, HEIGHT blocks) is
# imported, then for each depth that many blocks are disconnected (invalidateblock) and connected again
# (reconsiderblock). A switch between two branches that fork so deep is one of each. Prints seconds, of
# the clock and of bitcoind's processor time. The ledger's side: `cargo bench --bench ledger`.
#
#     caesure generate --out coins.dat --profile coins --txs 400000 --pool 200000 --blocks 500 --forks 0
#     BITCOIND=bitcoind BITCOIN_CLI=bitcoin-cli benches/tip_switch.sh coins.dat 500
set -eu
file=$1 height=$2
folder=$(mktemp -d)
settings="-regtest -datadir=$folder -rpcport=${RPCPORT:-18990}"
cli() { "${BITCOIN_CLI:-bitcoin-cli}" $settings -rpcclienttimeout=0 "$@"; }
clean_up() {
    if cli stop >/dev/null 2>&1; then
        while [ -e "$folder/pid" ]; do sleep 0.1; done
    fi
    rm -rf "$folder"
}
trap clean_up EXIT
# It makes no blocks and hears none, so that nothing but the calls moves the tip.
"${BITCOIND:-bitcoind}" $settings -loadblock="$file" -connect=0 -listen=0 -server -daemonwait -par=2 \
    -dbcache=2000 -assumevalid=0 -checkblockindex=0 -checkmempool=0 -pid="$folder/pid" >/dev/null
until [ "$(cli getblockcount)" -ge "$height" ]; do sleep 1; done
sleep 2
process=$(cat "$folder/pid")
ticks=$(getconf CLK_TCK)
cpu() { awk -v ticks="$ticks" '{ print ($14 + $15) / ticks }' "/proc/$process/stat"; }
timed() {
    begin=$(date +%s.%N) cpu_begin=$(cpu)
    cli "$@" >/dev/null
    end=$(date +%s.%N) cpu_end=$(cpu)
    awk -v a="$begin" -v b="$end" -v c="$cpu_begin" -v d="$cpu_end" -v name="$1" -v depth="$depth" \
        'BEGIN { printf "%-16s depth %3d %9.3f s wall %9.3f s cpu\n", name, depth, b - a, d - c }'
}
for depth in 1 6 100 288; do
    block=$(cli getblockhash $((height - depth + 1)))
    timed invalidateblock "$block"
    [ "$(cli getblockcount)" -eq $((height - depth)) ]
    timed reconsiderblock "$block"
    [ "$(cli getblockcount)" -eq "$height" ]
done
