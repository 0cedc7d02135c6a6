#!/bin/sh
# Makes the pictures of docs/images: a generated chain, a node on it, and chromium.
# Usage: docs/screenshots.sh [CAESURE]   (default: target/release/caesure)
set -eu
caesure=$(realpath "${1:-target/release/caesure}")
chromium=${CHROMIUM:-chromium}
images=$(realpath "$(dirname "$0")")/images
work=$(mktemp -d)
port=29381
mkdir -p "$images"
cd "$work"
"$caesure" generate --network regtest --blocks 200 --txs 1500 --pool 400 --forks 4 --seed 2014 --out chain.dat
"$caesure" import --network regtest -b base chain.dat
"$caesure" --network regtest -b base -a 127.0.0.1:$port --no-rpc --no-dns-seed --only-connect &
node=$!
trap 'kill $node; wait $node; rm -r "$work"' EXIT
site=http://127.0.0.1:$port/admin
for _ in $(seq 60); do
    curl -sf -o page.html "$site/block" && break
    sleep 1
done
# A transaction with a script that hides behind a hash, and two conditionals or more keys.
hash=$(grep -o 'tx/[0-9a-f]*/' page.html | head -n 1 | cut -d/ -f2)
tx=$(grep -o "tx/$hash/[0-9a-f]*" page.html | sort -u | cut -d/ -f3 | while read -r txid; do
    curl -s "$site/tx/$hash/$txid" | grep -q 'p2wsh (' && echo "$txid" && break
done)
input=$(curl -s "$site/tx/$hash/$tx" | sed 's/<tr>/\n<tr>/g' | grep 'p2wsh (' | grep -o "debug/$hash/$tx/[0-9]*" | head -n 1 | cut -d/ -f4)

# NAME ADDRESS WIDTH HEIGHT [dark]
shoot() {
    scheme=${5:-light}
    flags=
    [ "$scheme" = dark ] && flags='--blink-settings=preferredColorScheme=0'
    # shellcheck disable=SC2086
    "$chromium" --headless --no-sandbox --hide-scrollbars --disable-gpu $flags \
        --window-size="$3,$4" --screenshot="$images/$1.png" "$site/$2" 2> chromium.log
}

shoot status status 1280 900
shoot status-dark status 1280 900 dark
shoot block block 1280 900
shoot block-phone block 500 900
shoot transaction "tx/$hash/$tx" 1200 680
shoot debugger "debug/$hash/$tx/$input?step=8" 1200 640
shoot debugger-dark "debug/$hash/$tx/$input?step=8" 1200 640 dark
shoot debugger-phone "debug/$hash/$tx/$input?step=8" 500 900
shoot ledger ledger 1200 680
find "$images" -size +149999c -print | while read -r big; do
    echo "$big has more than 150 kB" >&2
    exit 1
done
